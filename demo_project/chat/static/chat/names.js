// What a name looks like: its colour and its badge.

// FNV-1a, then stirred once more: names that are alike land far apart on the colour wheel.
function hash(text) {
  let value = 0x811c9dc5;
  for (const character of text) value = Math.imul(value ^ character.codePointAt(0), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

// Lightness and chroma are the stylesheet's, so that every hue has the same contrast.
export function colour(element, name) {
  element.style.setProperty("--hue", String(hash(name) % 360));
}

export function badge(name) {
  const element = document.createElement("span");
  element.className = "badge";
  element.setAttribute("aria-hidden", "true");
  element.textContent = (name.match(/[A-Za-z0-9]/g) ?? ["?"]).slice(0, 1).join("");
  return element;
}

export function label(name) {
  const element = document.createElement("span");
  element.className = "name";
  element.textContent = name;
  return element;
}

// A guest keeps the made-up name for as long as the tab lives, also when the page is loaded again.
export function guestName() {
  const fresh = `guest-${crypto.getRandomValues(new Uint16Array(1))[0].toString(16).padStart(4, "0")}`;
  try {
    const kept = sessionStorage.getItem("chat-guest") ?? fresh;
    sessionStorage.setItem("chat-guest", kept);
    return kept;
  } catch {
    return fresh; // storage is off
  }
}
