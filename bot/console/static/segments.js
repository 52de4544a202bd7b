// Segments: conditions that are dragged, and what the browser remembers of a choice after a part was added.
function sortable(part) {
  if (!window.Sortable) return;
  for (const list of part.querySelectorAll("[data-parts]")) {
    if (window.Sortable.get(list)) continue;
    window.Sortable.create(list, { handle: "[data-grip]", animation: 120, draggable: "[data-part]" });
  }
}
document.addEventListener("htmx:afterSwap", () => sortable(document));
sortable(document);
