// Forms drawn from declared parameters: names of tags and the like are chosen, items are added, moved and removed.
// Without this script names are typed one a line, and a list has the items the page came with.

// a list of names becomes a select: the same name is posted, once a choice
function choose(area) {
  if (!window.TomSelect || area.dataset.drawn) return;
  area.dataset.drawn = "1";
  const select = document.createElement("select");
  select.multiple = true;
  select.name = area.name;
  select.className = "form-select";
  const chosen = area.value.split("\n").filter((line) => line.trim());
  const known = [...(document.getElementById(`names-${area.dataset.names}`)?.options ?? [])];
  const labels = new Map(known.map((one) => [one.value, one.textContent.trim()]));
  for (const value of new Set([...chosen, ...labels.keys()])) {
    const label = labels.get(value);
    select.add(new Option(label ? `${label} ${value}` : value, value, false, chosen.includes(value)));
  }
  const id = area.id;
  area.removeAttribute("name");
  area.removeAttribute("id");
  area.hidden = true;
  select.id = id;
  for (const name of ["aria-invalid", "aria-describedby"]) {
    if (area.hasAttribute(name)) select.setAttribute(name, area.getAttribute(name));
  }
  area.after(select);
  new window.TomSelect(select, {
    create: true, createOnBlur: true, persist: false, maxOptions: 300, plugins: ["remove_button"],
  });
}

let added = 0;
function add(list) {
  // numbers only tell items apart, what counts is their order on the page
  added += 1;
  const number = `${Date.now()}${added}`.slice(-14);
  const template = list.querySelector(":scope > template");
  const depth = template.innerHTML.match(/__n\d__/)[0];
  const holder = document.createElement("template");
  holder.innerHTML = template.innerHTML.replaceAll(depth, number);
  const item = holder.content.firstElementChild;
  list.querySelector(":scope > [data-list]").append(item);
  draw(item);
  item.querySelector("input, textarea, select")?.focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-add], [data-remove], [data-up], [data-down]");
  if (!button) return;
  if ("add" in button.dataset) {
    add(button.closest("[data-items]"));
    return;
  }
  const item = button.closest("[data-item]");
  if (!item) return;
  if ("remove" in button.dataset) item.remove();
  if ("up" in button.dataset) item.previousElementSibling?.before(item);
  if ("down" in button.dataset) item.nextElementSibling?.after(item);
  button.isConnected && button.focus();
});

function draw(part) {
  for (const area of part.querySelectorAll("textarea[data-names]")) choose(area);
}
// what was swapped in took the target's place, so the whole page is looked at
document.addEventListener("htmx:afterSwap", () => draw(document));
draw(document);
