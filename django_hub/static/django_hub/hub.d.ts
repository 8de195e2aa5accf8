/** What is undefined is left at its default. */
export interface Options {
  /** Seconds: the bound of the first wait. It doubles with each failure up to `most`, but not above the time it has been away; the wait is random below it. */
  first?: number | undefined;
  /** Seconds: the longest bound of a wait. */
  most?: number | undefined;
  /** Seconds in which a new connection must have said hello. */
  patience?: number | undefined;
  /** How many messages and requests may wait for their acknowledgement. */
  maxQueue?: number | undefined;
  /** How many bytes they may have in all. */
  maxQueueBytes?: number | undefined;
  /**
   * Called before each connection, for a page of another origin: a ticket of the server's `hub_ticket`, which is good
   * once. Where it fails, or brings what can be none, that counts as a connection that failed (1006, with the reason).
   */
  ticket?: (() => string | Promise<string>) | undefined;
  /** The class of sockets, where it is not the global one (package "ws" in an old Node). */
  WebSocket?: (new (url: string, protocols: string[]) => Socket) | undefined;
}

/** What is used of a socket: browsers' have it, Node's, and those of package "ws". */
export interface Socket {
  binaryType: string;
  readonly protocol: string;
  addEventListener(name: any, fn: (event: any) => void): void;
  send(data: any): void;
  close(code?: number, reason?: string): void;
}

/** A client of the hub. */
export interface Member {
  client: string;
  /** The user's id; null where nobody is logged in. */
  user: string | number | null;
  meta: Record<string, any>;
  /** lost: its connection broke; it may be back. gone: it has left. */
  state: "online" | "lost" | "gone";
}

/** A user, and one member for each tab or device. Where nobody is logged in each member is a group alone. */
export interface PresenceGroup {
  user: string | number | null;
  metas: Member[];
}

export interface EventMap {
  /**
   * What the application sent: a JSON value, or a Uint8Array. A broadcast has a `seq`, which rises; a message to this
   * client alone has a `direct` number, which rises; one with neither could be dropped, and is never recovered.
   */
  message: { data: any; seq?: number | undefined; direct?: number | undefined };
  /** A member came. Needs presence to be on in the consumer, as the next two. */
  joined: Member;
  /** A member went for good. */
  left: Member;
  /** All who are there, after each change and on each return (where no single joined or left is told). */
  presence: PresenceGroup[];
  state:
    | { state: "connecting" | "online" }
    /**
     * The next try comes `until` then (as of `Date.now()`); `code` and `reason` are why this one failed: 4433, the hub is
     * full. offline: the browser says that there is no network.
     */
    | { state: "waiting" | "offline"; until: number; code: number; reason: string }
    /** The end: by `close()`, or because the server said not to come back. */
    | { state: "closed"; code: number; reason: string };
  /** Broadcasts or direct messages were missed for good. Load the application's data anew; messages go on from here. */
  resync: { reason: string };
}

/** The root of the errors here. */
export class HubError extends Error {}
/** No reply came in time. Whether the request was handled is not known. */
export class HubTimeout extends HubError {}
/** Too much waits for its acknowledgement; this message was not taken. */
export class HubQueueFull extends HubError {}
/**
 * The hub did not take this message, and never will: this client may not send (4403), or it is larger than the consumer's
 * `max_message_bytes` (1009). Or it took this request, and its handler failed (1011). The client stays connected.
 */
export class HubRefused extends HubError {
  constructor(code: number, reason: string);
  code: number;
  reason: string;
}
/** The hub is closed. What was not acknowledged may or may not have been taken. */
export class HubClosed extends HubError {
  constructor(code: number, reason: string);
  code: number;
  reason: string;
}

/**
 * Connects to a hub, and returns at once: what is sent before it is online waits.
 *
 * `url` may be relative to the page, and http(s). A URL that can't be one throws here, a number that is not above 0, and
 * where there is no WebSocket.
 */
export function connect(url: string | URL, options?: Options): Hub;

/**
 * A connection to a hub that comes back when it is lost, until it is closed.
 *
 * It waits between two tries: exponentially, at random. While the page is hidden or the browser offline it takes its
 * time (up to `most`); when the page is seen again or the network is back it tries at once (not where there was no room:
 * 4430 to 4434), and a connection that is there must answer within 5 seconds. Back in time it goes on as the same member
 * and gets what it missed, once and in order; else it says "resync".
 */
export class Hub {
  constructor(url: string | URL, options?: Options);

  readonly state: EventMap["state"]["state"];
  /** This client's id in the hub; null before the first hello. */
  readonly client: string | null;
  /** Who is there, in no particular order; empty where the consumer has presence off. */
  readonly presence: PresenceGroup[];

  /**
   * Calls `fn` at each event of that name, until the function that it returns is called. What a listener throws is
   * reported, and holds up nobody. After "closed" nothing comes. Call it in the same turn as `connect()`: then no event is missed.
   */
  on<Name extends keyof EventMap>(name: Name, fn: (event: EventMap[Name]) => void): () => void;

  /**
   * Resolves when the message is in the hub's mailbox. Messages arrive in the order of the calls, requests among them,
   * once each however often the connection breaks; where the server has forgotten this client meanwhile (4401) the
   * unacknowledged ones may arrive twice. `data` is a JSON value, or whatever `JSON.stringify` makes one of, or bytes. It
   * is read now: a later change of it is not sent.
   *
   * Rejects with HubQueueFull, with HubRefused, with HubClosed, or with TypeError where data is no JSON value, or text with
   * half a character (a lone surrogate: where an emoji was cut in two).
   */
  send(data: unknown): Promise<void>;

  /**
   * Resolves with the reply. Rejects as `send` does, or with HubTimeout after `timeout` seconds (30); then it is not
   * sent, if it has not been.
   */
  request(data: unknown, options?: { timeout?: number | undefined }): Promise<any>;

  /**
   * Leaves the hub, for good. What was not acknowledged is rejected with HubClosed. The code is 1000 or one of 3000 to
   * 4999; after any other than those of a lost connection the server takes it as a leave, without grace.
   */
  close(code?: number, reason?: string): void;
}
