// Drag a send to another day: the next page says what it costs and asks. Without a pointer there is 改期.
const calendar = document.querySelector("[data-calendar]");
let held = null;

function over(event) {
  return document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-day]");
}

function mark(day) {
  for (const one of calendar.querySelectorAll(".day.over")) one.classList.remove("over");
  day?.classList.add("over");
}

calendar.addEventListener("pointerdown", (event) => {
  const entry = event.target.closest("[data-campaign]");
  if (!entry || event.button !== 0 || event.target.closest(".move") || event.pointerType === "touch") return;
  held = { entry, x: event.clientX, y: event.clientY, moving: false };
});

document.addEventListener("pointermove", (event) => {
  if (!held) return;
  // a click on the name stays a click
  if (!held.moving && Math.hypot(event.clientX - held.x, event.clientY - held.y) < 6) return;
  held.moving = true;
  held.entry.classList.add("held");
  event.preventDefault();
  mark(over(event));
});

document.addEventListener("pointerup", (event) => {
  if (!held) return;
  const { entry, moving } = held;
  held = null;
  entry.classList.remove("held");
  mark(null);
  if (!moving) return;
  const day = over(event)?.dataset.day;
  // the click that ends a drag opens nothing
  document.addEventListener("click", (click) => click.preventDefault(), { once: true, capture: true });
  if (!day || entry.closest("[data-day]").dataset.day === day) return;
  const move = calendar.dataset.move.replace(/\/0$/, `/${entry.dataset.campaign}`);
  window.location.assign(`${move}?day=${day}`);
});

document.addEventListener("pointercancel", () => {
  held?.entry.classList.remove("held");
  held = null;
  mark(null);
});
calendar.addEventListener("dragstart", (event) => event.preventDefault());
