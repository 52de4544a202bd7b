// The countdown of an approved send: how long it may still be stopped, on the server's clock.
function tell() {
  for (const place of document.querySelectorAll("[data-until]")) {
    place.skew ??= place.dataset.now ? new Date(place.dataset.now) - Date.now() : 0;
    const left = Math.max(0, Math.round((new Date(place.dataset.until) - Date.now() - place.skew) / 1000));
    place.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  }
}
if (document.querySelector("[data-until]")) {
  tell();
  setInterval(tell, 1000);
}
