(() => {
  // The table of very many patients: only some rows are in the page, chosen and sorted from the data of all.
  const table = document.getElementById("many");
  if (!table) return;
  const { shown, rows } = JSON.parse(document.getElementById("patients-data").textContent);
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const isText = headings.map((heading) => !heading.classList.contains("n"));
  const compare = new Intl.Collator(undefined, { numeric: true }).compare;
  const number = (text) => { const found = parseFloat(text); return Number.isNaN(found) ? -Infinity : found; };
  const count = (whole) => whole.toLocaleString("en-US");
  const find = document.getElementById("find");
  const boxes = [...document.querySelectorAll(".filter input[type=checkbox]")];
  let order = rows.map((_, place) => place);
  // A row is [letters, address, patient, ... cells]; a cell is a text, or a text and the sign beside it.
  const textOf = (cell) => Array.isArray(cell) ? cell[0] : cell;
  const write = (element, cell) => {
    element.textContent = textOf(cell);
    if (Array.isArray(cell)) {
      const sign = document.createElement("span");
      sign.className = "s";
      sign.textContent = cell[1];
      element.append(" ", sign);
    }
  };
  const rowOf = (row) => {
    const made = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    const name = document.createElement("bdi");
    name.textContent = row[2];
    if (row[1]) {
      const link = document.createElement("a");
      link.href = row[1];
      link.append(name);
      head.append(link);
    } else head.append(name);
    made.append(head);
    row.slice(3).forEach((cell, place) => {
      const made_cell = document.createElement("td");
      if (isText[place + 1]) made_cell.className = "text";
      write(made_cell, cell);
      made.append(made_cell);
    });
    return made;
  };
  const show = () => {
    const wanted = find.value.trim().toLowerCase();
    const letters = boxes.filter((box) => box.checked).map((box) => box.value);
    const chosen = order.filter((place) => letters.every((letter) => rows[place][0].includes(letter))
      && rows[place][2].toLowerCase().includes(wanted));
    body.replaceChildren(...chosen.slice(0, shown).map((place) => rowOf(rows[place])));
    document.getElementById("shown").textContent = `${count(chosen.length)} of ${count(rows.length)} patients`;
  };
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const now = heading.getAttribute("aria-sort");
      const way = now ? (now === "ascending" ? -1 : 1) : isText[column] ? 1 : -1;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", way === 1 ? "ascending" : "descending");
      const keys = rows.map((row) => isText[column] ? textOf(row[column + 2]) : number(textOf(row[column + 2])));
      order = rows.map((_, place) => place);
      order.sort((a, b) => way * (isText[column] ? compare(keys[a], keys[b]) : keys[a] === keys[b] ? 0 : keys[a] - keys[b]));
      show();
    });
  });
  [find, ...boxes].forEach((input) => input.addEventListener("input", show));
  document.querySelector(".filter").addEventListener("submit", (event) => event.preventDefault());
  show();
})();
