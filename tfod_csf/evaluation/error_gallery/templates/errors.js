(() => {
  // A count of the matrix opens the pictures behind it and moves the focus to the first of them.
  const open = () => {
    const target = location.hash ? document.getElementById(location.hash.slice(1)) : null;
    if (!target || target.tagName !== "DETAILS") return;
    target.open = true;
    target.scrollIntoView();
    const first = target.querySelector("button");
    if (first) first.focus({ preventScroll: true });
  };
  window.addEventListener("hashchange", open);
  document.querySelectorAll(".matrix a").forEach((link) => {
    link.addEventListener("click", () => { if (link.hash === location.hash) open(); });
  });
  open();
})();
