// The lobby: keeps the list of rooms fresh and remembers the visitor's name.

const PERIOD = 3000;
const rooms = document.getElementById("rooms");
const name = document.getElementById("id_name");

function remembered() {
  try {
    return localStorage.getItem("chat-name") ?? "";
  } catch {
    return ""; // storage is off: nothing is remembered, all else works
  }
}

function remember(text) {
  try {
    localStorage.setItem("chat-name", text);
  } catch {
    // as above
  }
}

let shown = null;

async function refresh() {
  const response = await fetch(rooms.dataset.source);
  if (!response.ok) return;
  const html = await response.text();
  if (html === shown) return; // so that nothing under the pointer or the focus changes without need
  shown = html;
  const focused = rooms.contains(document.activeElement) && document.activeElement.getAttribute("href");
  // Parsed apart from the page; the server's template has escaped every name in it.
  rooms.replaceChildren(...new DOMParser().parseFromString(html, "text/html").body.childNodes);
  if (focused) rooms.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
}

async function keepFresh() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, PERIOD));
    if (document.hidden) continue;
    await refresh().catch(() => {}); // the server is away: the old list stays, and the next round asks again
  }
}

if (!name.value) name.value = remembered();
document.getElementById("join").addEventListener("submit", () => remember(name.value.trim()));
rooms.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link) return;
  const wanted = name.value.trim();
  if (!name.checkValidity()) {
    event.preventDefault();
    name.reportValidity();
    return;
  }
  remember(wanted);
  link.search = wanted ? new URLSearchParams({ name: wanted }) : "";
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh().catch(() => {});
});
keepFresh();
