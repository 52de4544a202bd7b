// The menu editor's phone: shows what is typed, takes one to a button's fields, and reorders by dragging.
// The form alone does the same with its arrows; what is posted is the order of the fields on the page.
const form = document.getElementById("menu");
const phone = document.querySelector("[data-phone]");
const columns = form?.querySelector("[data-columns]");
const bytes = new TextEncoder();

const fieldsets = (place) => [...place.children].filter((one) => one.matches("[data-button]"));
const subsOf = (top) => fieldsets(top.querySelector("[data-subs]"));
const input = (set, name) => set.querySelector(`:scope > .row [name$=".${name}"]`);
const named = (set) => input(set, "name").value.trim();

// field names follow the order on the page, so that the server reads what one sees
function renumber() {
  fieldsets(columns).forEach((top, number) => {
    rename(top, `m.${number}`);
    subsOf(top).forEach((sub, below) => rename(sub, `m.${number}.sub.${below}`));
  });
}
function rename(set, place) {
  for (const one of set.querySelectorAll(":scope > .row [name]")) {
    const last = one.name.slice(one.name.lastIndexOf("."));
    one.name = place + last;
    set.querySelector(`label[for="${CSS.escape(one.id)}"]`)?.setAttribute("for", place + last);
    one.id = place + last;
  }
  for (const one of set.querySelectorAll(":scope > legend [name=move]")) {
    one.value = `${place.slice(2)}:${one.value.split(":").pop()}`;
  }
}

function button(set, text) {
  const shown = document.createElement("button");
  shown.type = "button";
  shown.textContent = text || "＋";
  shown.classList.toggle("empty", !text);
  shown.addEventListener("click", () => {
    const details = set.closest("details");
    if (details) details.open = true;
    set.scrollIntoView({ block: "nearest", behavior: "smooth" });
    input(set, "name").focus();
  });
  shown.set = set;
  return shown;
}

function draw() {
  const bar = document.createElement("div");
  bar.className = "menu-bar";
  for (const top of fieldsets(columns)) {
    const column = document.createElement("div");
    column.className = "menu-top";
    column.set = top;
    const pop = document.createElement("div");
    pop.className = "menu-pop";
    const subs = subsOf(top);
    for (const sub of subs.filter(named)) pop.append(button(sub, named(sub)));
    const free = subs.find((sub) => !named(sub));
    if (free && named(top)) pop.prepend(button(free, ""));
    const name = button(top, named(top));
    name.classList.add("handle");
    column.append(pop, name);
    bar.append(column);
    drag(pop, top.querySelector("[data-subs]"), "button:not(.empty)");
  }
  phone.replaceChildren(bar);
  drag(bar, columns, ".menu-top", ".handle");
}

function drag(list, target, draggable, handle) {
  if (!window.Sortable || form.querySelector("fieldset[disabled]")) return;
  window.Sortable.create(list, {
    draggable,
    handle,
    animation: 120,
    onEnd: () => {
      const order = [...list.querySelectorAll(`:scope > ${draggable}`)].map((one) => one.set);
      for (const set of order.reverse()) target.prepend(set);
      renumber();
      draw();
    },
  });
}

function measure(one) {
  const place = one.parentElement.querySelector("[data-size]");
  if (!place) return;
  const most = Number(one.closest("[data-button]").querySelector(":scope > .row [name$='.kind']").value === "view" && one.name.endsWith(".value") ? 1024 : one.dataset.bytes);
  const size = bytes.encode(one.value.trim()).length;
  place.textContent = size ? `${size} / ${most}` : "";
  place.classList.toggle("too-long", size > most);
}

if (form && phone) {
  phone.hidden = false;
  draw();
  for (const one of form.querySelectorAll("[data-bytes]")) measure(one);
  form.addEventListener("input", (event) => {
    if (event.target.matches("[data-bytes]")) measure(event.target);
    if (event.target.name?.endsWith(".name")) draw();
  });
}
