// Times in the browser's own zone.
function dress() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!isNaN(at)) time.title = at.toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "long" });
  }
}
dress();
addEventListener("refreshed", dress);

// "/" goes to the search of the page, as long as nobody writes.
addEventListener("keydown", (e) => {
  if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, textarea, select")) return;
  const search = document.querySelector("input[type=search]");
  if (search) { e.preventDefault(); search.focus(); search.select(); }
});

const log = document.getElementById("log");

// A click on a line's number makes the address lead there.
log?.addEventListener("click", (e) => {
  if (e.target.className === "n") location.hash = e.target.parentElement.id;
});

// A log is read from its end.
if (log && !location.hash && !new URLSearchParams(location.search).has("from")) log.scrollTop = log.scrollHeight;
