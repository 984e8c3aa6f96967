"use strict";
(() => {
  // Loads the file again, and says when it was written too long ago. "#paused" in the address outlasts a reload by hand.
  const clock = document.getElementById("clock");
  if (!clock) return;
  const { written, reload, old } = Object.fromEntries(Object.entries(clock.dataset).map(([name, text]) => [name, Number(text)]));
  const button = document.getElementById("pause");
  const warning = document.getElementById("old");
  const isPaused = () => location.hash === "#paused";
  let timer = 0;
  const plan = () => {
    clearTimeout(timer);
    if (!isPaused()) timer = setTimeout(() => location.reload(), 1000 * reload);
    button.setAttribute("aria-pressed", String(isPaused()));
    button.textContent = isPaused() ? "Load again by itself" : "Stop loading again";
  };
  const age = () => {
    const seconds = Math.round(Date.now() / 1000 - written);
    warning.hidden = seconds < old;
    if (!warning.hidden) {
      warning.textContent = isPaused()
        ? `These numbers are ${seconds} seconds old; loading again is stopped.`
        : `These numbers are ${seconds} seconds old: an image takes long, or the program has ended.`;
    }
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    history.replaceState(null, "", isPaused() ? "#" : "#paused");
    plan();
    age();
  });
  plan();
  age();
  setInterval(age, 1000);
})();
