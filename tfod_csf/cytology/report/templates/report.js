"use strict";
(() => {
  // The table of patients: sorting by a heading, search, and the boxes that choose rows.
  const table = document.getElementById("cohort");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const found = parseFloat(text);
    return [Number.isNaN(found) ? -Infinity : found, text];
  };
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const isText = !heading.classList.contains("n");
    heading.querySelector("button").addEventListener("click", () => {
      const now = heading.getAttribute("aria-sort");
      const way = now ? (now === "ascending" ? -1 : 1) : isText ? 1 : -1;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", way === 1 ? "ascending" : "descending");
      const compare = new Intl.Collator(undefined, { numeric: true }).compare;
      const keyed = rows.map((row) => [value(row, column), row]);
      keyed.sort(([a], [b]) => way * (isText ? compare(a[1], b[1]) : a[0] === b[0] ? 0 : a[0] - b[0]));
      body.append(...keyed.map(([, row]) => row));
    });
  });
  const find = document.getElementById("find");
  const boxes = [...document.querySelectorAll(".filter input[type=checkbox]")];
  const choose = () => {
    const wanted = find.value.trim().toLowerCase();
    const letters = boxes.filter((box) => box.checked).map((box) => box.value);
    let count = 0;
    rows.forEach((row) => {
      const has = letters.every((letter) => row.dataset.f.includes(letter));
      row.hidden = !(has && row.cells[0].textContent.toLowerCase().includes(wanted));
      count += !row.hidden;
    });
    document.getElementById("shown").textContent = `${count} of ${rows.length} patients`;
  };
  [find, ...boxes].forEach((input) => input.addEventListener("input", choose));
  document.querySelector(".filter").addEventListener("submit", (event) => event.preventDefault());
})();
