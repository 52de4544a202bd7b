// What every page shares: dialogs, choosing rows, searchable selects, selects that submit their form.
const dialog = document.getElementById("dialog");

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target === dialog && dialog.childElementCount && !dialog.open) dialog.showModal();
  enhance(event.detail.target);
});

document.addEventListener("click", (event) => {
  const close = event.target.closest("[data-close-dialog]");
  if (close && dialog.open) {
    event.preventDefault();
    dialog.close();
  }
  if (event.target === dialog) dialog.close();
});
dialog.addEventListener("close", () => dialog.replaceChildren());

// rows of a list: all of this page, and how many are chosen
function count() {
  const chosen = document.querySelectorAll("input[name=ids]:checked").length;
  for (const place of document.querySelectorAll("[data-checked]")) place.textContent = chosen;
}
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-check-all]")) {
    for (const box of document.querySelectorAll("input[name=ids]")) box.checked = event.target.checked;
  }
  if (event.target.matches("[data-check-all], input[name=ids]")) count();
  if (event.target.matches("select[data-submit]")) event.target.form.requestSubmit();
});

// a wide menu of columns closes when something else is clicked
document.addEventListener("click", (event) => {
  for (const open of document.querySelectorAll("details.columns[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});

// data-tom: searchable; data-create: new words may be typed. The page loads vendor/tom-select.js where it has such fields.
export function enhance(part = document) {
  if (!window.TomSelect) return;
  for (const field of part.querySelectorAll("[data-tom]:not(.tomselected)")) {
    new window.TomSelect(field, {
      create: field.hasAttribute("data-create"),
      createOnBlur: true,
      persist: false,
      maxOptions: 500,
      plugins: field.multiple ? ["remove_button"] : [],
    });
  }
}

// the browser's own file field speaks the browser's language: ours says the same in the page's
function dressFiles() {
  const { chooseFile, noFile } = document.body.dataset;
  for (const field of document.querySelectorAll("input[type=file].form-control")) {
    const box = document.createElement("label");
    const button = document.createElement("span");
    const name = document.createElement("span");
    box.className = `${field.className} file-field`;
    button.className = "btn btn-sm";
    button.textContent = chooseFile;
    name.className = "text-secondary";
    const tell = () => (name.textContent = field.files[0]?.name ?? noFile);
    field.addEventListener("change", tell);
    field.form?.addEventListener("reset", () => setTimeout(tell));
    tell();
    field.className = "visually-hidden";
    field.replaceWith(box);
    box.append(field, button, name);
  }
}
document.addEventListener("htmx:afterSettle", dressFiles);
dressFiles();
enhance();
count();
