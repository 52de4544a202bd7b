// Rules: drag and step to reorder, parts of a rule that are dragged, and the fields the test box needs.
const rows = document.getElementById("rules");

function post(order) {
  const version = document.getElementById("order-version");
  window.htmx.ajax("POST", rows.dataset.order, {
    source: version,
    target: "#order-version",
    swap: "outerHTML",
    values: { order: order.join(","), version: version.value },
  });
}

function moved() {
  const listed = [...rows.querySelectorAll("tr[data-id]")];
  const places = listed.map((row) => row.querySelector("[data-place]")).filter(Boolean);
  const numbers = places.map((place) => Number(place.textContent)).sort((one, other) => one - other);
  places.forEach((place, index) => { place.textContent = numbers[index]; });
  post(listed.map((row) => row.dataset.id));
}

if (rows) {
  if (window.Sortable) {
    window.Sortable.create(rows, { handle: "[data-grip]", animation: 120, draggable: "tr[data-id]", onEnd: moved });
  }
  // at the end of a page the server moves the rule to the next one
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[name=step]");
    const row = button?.closest("tr[data-id]");
    const up = button?.value.startsWith("up:");
    const other = up ? row?.previousElementSibling : row?.nextElementSibling;
    if (!row || !other?.dataset.id) return;
    event.preventDefault();
    if (up) other.before(row);
    else other.after(row);
    button.focus();
    moved();
  });
}

// a switch is posted by itself: the list stays where it is
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[role=switch]");
  if (!button) return;
  event.preventDefault();
  const values = { on: button.value };
  window.htmx.ajax("POST", button.formAction, { source: button, target: button, swap: "outerHTML", values });
});

function sortable(part) {
  if (!window.Sortable) return;
  for (const list of part.querySelectorAll("[data-parts]")) {
    if (window.Sortable.get(list)) continue;
    window.Sortable.create(list, { handle: "[data-grip]", animation: 120, draggable: "[data-part]" });
  }
}

// what was not asked for need not be filled in
function fit() {
  const kind = document.getElementById("test-kind");
  if (!kind) return;
  for (const field of document.querySelectorAll("[data-test]")) {
    field.hidden = !field.dataset.test.split(" ").includes(kind.value);
  }
}
document.addEventListener("change", (event) => { if (event.target.id === "test-kind") fit(); });
document.addEventListener("keydown", (event) => {
  // Enter in the test box tests, and does not save
  if (event.key !== "Enter" || !event.target.matches("#test-text, #test-scene, #test-key")) return;
  event.preventDefault();
  event.target.closest("form").querySelector("button[value=test]").click();
});
document.addEventListener("htmx:afterSwap", () => { sortable(document); fit(); });
sortable(document);
fit();
