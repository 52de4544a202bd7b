// Light or dark before anything is drawn; "auto" follows the system, also while the page is open.
const system = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;
function apply() {
  if (root.dataset.theme === "auto") root.setAttribute("data-bs-theme", system.matches ? "dark" : "light");
}
apply();
system.addEventListener("change", apply);
