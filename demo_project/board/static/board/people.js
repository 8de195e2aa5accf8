// Who is here: a user once, with however many pages; away only where all of them are.

import { badge, colour, label } from "../chat/names.js";

export function showPeople(list, count, groups, me) {
  const people = groups.map(({ metas }) => ({
    name: metas[0].meta.name,
    online: metas.some(({ state }) => state === "online"),
    pages: metas.length,
  }));
  people.sort((one, other) => (one.name < other.name ? -1 : 1));
  list.replaceChildren(...people.map((person) => item(person, me)));
  count.textContent = people.length;
}

function item({ name, online, pages }, me) {
  const person = document.createElement("span");
  person.className = "person";
  colour(person, name);
  const who = document.createElement("span");
  who.className = "who";
  const away = document.createElement("span");
  away.className = "away";
  away.textContent = online ? "" : "reconnecting";
  who.append(label(name), away);
  person.append(badge(name), who);
  const more = [name === me ? "you" : "", pages > 1 ? `${pages} pages` : ""].filter(Boolean).join(", ");
  if (more) {
    const you = document.createElement("span");
    you.className = "you";
    you.textContent = more;
    person.append(you);
  }
  const element = document.createElement("li");
  element.dataset.state = online ? "online" : "lost";
  element.append(person);
  return element;
}
