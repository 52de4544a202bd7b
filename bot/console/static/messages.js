// Conversations: stay at the newest message, lock the box with its window, insert canned answers, Ctrl+Enter sends.
function toEnd() {
  const talk = document.getElementById("talk");
  if (talk) talk.scrollTop = talk.scrollHeight;
}

function lock() {
  const room = document.getElementById("room");
  const fields = document.querySelector("#composer fieldset");
  if (room && fields) fields.disabled = room.hasAttribute("data-locked");
}

document.addEventListener("htmx:afterSwap", toEnd);
document.addEventListener("htmx:oobAfterSwap", lock);
document.addEventListener("htmx:afterSettle", lock);

// a list that renews itself must not take away what is being chosen or typed
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.elt.id !== "inbox") return;
  const busy = event.detail.elt.querySelector("input[name=ids]:checked, input:focus, select:focus");
  if (busy) event.preventDefault();
});

document.addEventListener("click", (event) => {
  const answer = event.target.closest("[data-insert]");
  const box = document.querySelector("#composer textarea");
  if (!answer || !box || box.closest("fieldset").disabled) return;
  event.preventDefault();
  box.setRangeText(answer.dataset.insert, box.selectionStart, box.selectionEnd, "end");
  box.focus();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.closest("#composer")) {
    event.preventDefault();
    event.target.form.requestSubmit();
  }
});

toEnd();
lock();
