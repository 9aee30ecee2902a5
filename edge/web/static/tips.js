// @ts-check
// What a word means is shown by hover, focus or tap, in style alone. Escape puts it away.

export function closeTipsOnEscape() {
  /** @type {NodeListOf<HTMLElement>} */
  const buttons = document.querySelectorAll(".why");
  addEventListener("keydown", (e) => {
    if (e.key === "Escape") buttons.forEach((b) => (b.dataset.closed = ""));
  });
  for (const button of buttons) {
    const open = () => delete button.dataset.closed;
    for (const event of ["pointerenter", "focus", "click"]) button.addEventListener(event, open);
    button.addEventListener("click", () => button.focus()); // Safari does not by itself
  }
}
