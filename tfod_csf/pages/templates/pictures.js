"use strict";
(() => {
  // Pictures: one tab stop per class, arrow keys inside it, Enter shows the picture larger.
  const viewer = document.getElementById("viewer");
  const step = (from, by) => {
    const cells = [...from.closest("ul").querySelectorAll("button")];
    return cells[Math.min(Math.max(cells.indexOf(from) + by, 0), cells.length - 1)];
  };
  const inRow = (cell) => {
    const cells = [...cell.closest("ul").querySelectorAll("button")];
    const next = cells.findIndex((other) => other.offsetTop > cells[0].offsetTop);
    return next < 0 ? cells.length : next;
  };
  const moves = { ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: inRow, ArrowUp: (c) => -inRow(c), Home: () => -1e6, End: () => 1e6 };
  let shown = null;
  const large = new Image();
  if (viewer) viewer.querySelector("p").before(large);
  const show = (button) => {
    const image = button.querySelector("img");
    if (!image || !viewer) return;
    shown = button;
    large.src = image.src;
    large.alt = image.alt;
    large.className = button.classList.contains("cell") ? "small" : "";
    viewer.querySelector("p").textContent = image.alt;
    if (!viewer.open) viewer.showModal();
  };
  document.querySelectorAll(".gallery, .fields").forEach((list) => {
    list.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) show(button);
    });
  });
  document.querySelectorAll(".gallery").forEach((list) => {
    list.addEventListener("keydown", (event) => {
      const cell = event.target.closest("button");
      if (!cell || !moves[event.key]) return;
      event.preventDefault();
      const next = step(cell, moves[event.key](cell));
      cell.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  });
  if (viewer) {
    viewer.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by && shown) show(step(shown, by));
    });
    viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
    viewer.addEventListener("close", () => { if (shown) { shown.tabIndex = 0; shown.focus(); } });
  }
})();
