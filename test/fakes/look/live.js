// Shows what has changed on the server without a reload, unless somebody is reading a command, writing, selecting, or on
// the way with the keyboard.
const busy = () =>
  document.querySelector("details[open]") ||
  !getSelection().isCollapsed ||
  document.activeElement?.matches("textarea, input, select, main :focus-visible") ||
  [...document.querySelectorAll("textarea, main input:not([type=hidden])")].some((field) => field.value !== field.defaultValue);

setInterval(async () => {
  if (document.hidden || busy()) return;
  try {
    const answer = await fetch(location.href);
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    const shown = document.querySelector("main");
    if (answer.ok && next && next.innerHTML !== shown.innerHTML && !busy()) shown.replaceWith(next);
  } catch {
    // The server is away; the next try may find it.
  }
}, 1500);
