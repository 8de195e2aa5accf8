// What a page asks its server for, beside the hub: its data, and changes that are to stay.

const token = document.querySelector("[name=csrfmiddlewaretoken]").value;

export class Failed extends Error {
  // status: 0 where no answer came.
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Failed("The server can't be reached.", 0);
  }
  const json = response.headers.get("Content-Type")?.startsWith("application/json");
  // Who was logged out is led to the door, which is no JSON.
  const answer = json ? await response.json() : { error: "You may not, or not any more." };
  if (!response.ok || !json) throw new Failed(answer.error ?? "That did not work.", response.status);
  return answer;
}

export const get = (url) => ask(url, {});

export const post = (url, fields = {}) =>
  ask(url, { method: "POST", body: new URLSearchParams(fields), headers: { "X-CSRFToken": token } });
