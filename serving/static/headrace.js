/**
 * Headrace in the browser: asks for slates, and logs what of them is seen, clicked and looked at, and for how long.
 *
 * Every event lies in localStorage, under a key of its own, until the API acknowledges it: a reload or an outage loses
 * nothing, and tabs need no lock. What is sent twice is dropped by its event_id. Without consent nothing is stored and
 * no event is sent. Publishable key and token go in the query: no header, so no preflight; beacons have none.
 *
 * @typedef {{item_id: string, position: number, reason: {code: string, text: string}, properties?: Object}} SlateItem
 * @typedef {{recommendation_id: string, items: SlateItem[], surface: string}} Slate
 */

const EVENT = "headrace:event:", MERGE = "headrace:merge:", VISITOR = "headrace:visitor", MERGED = "headrace:merged";
const VIEWABLE = 0.5, VIEWABLE_MS = 1000; // MRC Viewable Ad Impression Measurement Guidelines, display
const BATCH = 50, BATCH_CHARS = 20_000; // at 3 bytes a character below the 64 KiB that may outlive a page
const FLUSH_MS = 1000, SETTLE_MS = 300, TIMEOUT_MS = 10_000, MAX_WAIT_S = 60;
const MAX_KEPT = 1000; // events; beyond it the oldest go
const REFUSED = [400, 413, 422]; // sent again, they would be refused again

export class Headrace {
  #api; #query; #context; #consent; #store; #user; #viewed; #since; #sending; #timer;
  #observed = new Map();
  #token = "";
  #failures = 0;
  #notBefore = 0;
  #due = Infinity;
  #left = false;

  /**
   * @param {Object} [options]
   * @param {string} [options.api] Address of the API; default: where this file came from.
   * @param {string} [options.key] A publishable key, where the API asks for keys.
   * @param {boolean} [options.consent] Whether the visitor has agreed to be logged; default: no.
   * @param {Object} [options.context] What else is known of the situation, such as the country.
   */
  constructor({ api = new URL("..", import.meta.url).href, key = "", consent = false, context = {} } = {}) {
    this.#api = api.replace(/\/*$/, "/");
    this.#query = key && `?key=${encodeURIComponent(key)}`;
    this.#context = { device: /Mobi/.test(navigator.userAgent) ? "mobile" : "desktop", ...context };
    this.setConsent(consent);
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#pause() : this.#resume()));
    addEventListener("pagehide", () => this.#leave());
    addEventListener("pageshow", () => (this.#left = false));
  }

  /** Grant or withdraw consent: withdrawn, all that is stored is dropped. @param {boolean} granted */
  setConsent(granted) {
    this.#consent = granted;
    this.#store ??= openStore();
    if (!granted) return this.#remove(this.#keys("headrace:"));
    if (this.#user) this.#merge();
    this.#schedule(0); // what an earlier page has left
  }

  /** Say who the visitor is: what it did counts for the user. @param {?string} userId @param {string} [token] */
  identify(userId, token = "") {
    this.#user = userId ?? undefined;
    this.#token = token && `&user_token=${token}`;
    if (userId) this.#merge();
    else this.#remove([VISITOR, MERGED]); // who comes next is somebody else
  }

  #merge() {
    if (!this.#consent || this.#store.getItem(MERGED) === this.#user) return;
    this.#keep(MERGE + this.#user, this.#who().visitor_id);
    this.#keep(MERGED, this.#user);
    this.#schedule(0);
  }

  /**
   * Return a slate, once what waits is sent. Without consent it is that of a stranger, of whom nothing is known.
   * @param {Object} [ask] Fields of POST /v1/recommendations: surface, n, item_id, return_properties ...
   * @returns {Promise<Slate>}
   */
  async recommend(ask = {}) {
    await Promise.race([this.flush(), new Promise((done) => setTimeout(done, SETTLE_MS))]);
    const body = JSON.stringify({ ...this.#who(), context: this.#context, ...ask });
    const response = await fetch(this.#url("v1/recommendations"), { method: "POST", body, credentials: "omit" });
    const answer = await response.json();
    if (!response.ok) throw Object.assign(new Error(answer.detail), { problem: answer });
    return { surface: ask.surface ?? "home", ...answer };
  }

  /**
   * Log impressions and clicks of a slate's items, the elements in root with data-item-id. A click on an element in
   * one with data-event is logged as that, add_to_cart for instance. Observing root again ends what was before.
   * @param {Element} root
   * @param {Slate} slate
   */
  observe(root, { recommendation_id, surface, items }) {
    this.#observed.get(root)?.stop();
    const positions = new Map(items.map(({ item_id, position }) => [item_id, position]));
    const slot = (card) => ({ item_id: card.dataset.itemId, position: positions.get(card.dataset.itemId) });
    const unseen = new Set([...root.querySelectorAll("[data-item-id]")].filter((card) => slot(card).position));
    const viewable = new Map(); // card -> when it became so
    const notice = (entries) => {
      const now = {};
      for (const { target, intersectionRatio } of entries) {
        viewable.set(target, intersectionRatio >= VIEWABLE && now);
      }
      setTimeout(() => {
        const seen = [...unseen].filter((card) => viewable.get(card) === now);
        for (const card of seen) unseen.delete(card);
        if (seen.length) this.track("impression", { items: seen.map(slot), recommendation_id, surface });
      }, VIEWABLE_MS);
    };
    const observer = new IntersectionObserver(notice, { threshold: VIEWABLE });
    const resume = () => unseen.forEach((card) => observer.observe(card)); // which tells at once what is visible
    const pause = () => (observer.disconnect(), viewable.clear());

    const listening = new AbortController();
    const click = ({ target, button }) => {
      const card = target.closest("[data-item-id]");
      if (!card || !slot(card).position || button > 1) return;
      const type = target.closest("[data-event]")?.dataset.event ?? "click";
      this.track(type, { ...slot(card), recommendation_id, surface });
    };
    for (const type of ["click", "auxclick"]) { // the latter: into a new tab; captured, so before the shop's own
      root.addEventListener(type, click, { capture: true, signal: listening.signal });
    }
    this.#observed.set(root, { pause, resume, stop: () => (pause(), listening.abort()) });
    if (!document.hidden) resume();
  }

  /**
   * Log that an item's page is looked at, now, and for how long, when it is left or hidden: a custom event named dwell
   * whose value is the seconds for which it was visible since the last one.
   * @param {?string} item_id null: its page is left, and no other follows.
   * @param {Object} [fields] Further fields of the event, such as recommendation_id and position.
   */
  view(item_id, fields = {}) {
    this.#dwell();
    this.#viewed = item_id && { item_id, ...fields };
    if (!item_id) return;
    this.track("view", this.#viewed);
    if (!document.hidden) this.#since = performance.now();
  }

  /** Log any event. @param {string} event_type @param {Object} [fields] As in POST /v1/events. */
  track(event_type, fields = {}) {
    if (!this.#consent) return;
    const event_id = newId(), timestamp = Date.now() / 1000, context = this.#context;
    const event = { event_id, event_type, timestamp, ...this.#who(), consent: true, context, ...fields };
    const kept = this.#keys(EVENT);
    this.#remove(kept.slice(0, Math.max(0, kept.length + 1 - MAX_KEPT)));
    this.#keep(EVENT + event_id, JSON.stringify(event));
    this.#schedule(kept.length + 1 < BATCH ? FLUSH_MS : 0);
  }

  /** Send what waits, unless the API has asked to wait. @returns {Promise<void>} */
  flush() {
    return (this.#sending ??= this.#send().finally(() => (this.#sending = undefined)));
  }

  async #send() {
    if (Date.now() < this.#notBefore) return this.#schedule(0);
    for (let batch; (batch = this.#batches().next().value); this.#remove(batch.keys)) {
      if (!(await this.#isDone("v1/events", batch.body))) return;
    }
    for (const key of this.#keys(MERGE)) {
      const body = JSON.stringify({ visitor_id: this.#store.getItem(key) });
      if (!(await this.#isDone(`v1/users/${encodeURIComponent(key.slice(MERGE.length))}:merge`, body))) return;
      this.#remove([key]);
    }
  }

  /** Send; return whether it is kept, or refused for good. If not, it is tried again later. */
  async #isDone(path, body) {
    const signal = AbortSignal.timeout(TIMEOUT_MS), keepalive = body.length < 1.05 * BATCH_CHARS;
    const options = { method: "POST", body, keepalive, signal, credentials: "omit" };
    const response = await fetch(this.#url(path), options).catch(() => undefined);
    if (response?.status === 202 || REFUSED.includes(response?.status)) {
      this.#failures = 0;
      const { errors } = await response.json().catch(() => ({}));
      if (errors?.length) console.warn("headrace: not accepted", errors);
      return true;
    }
    const asked = Number(response?.headers.get("Retry-After")) || 0;
    const wait = Math.max(asked, Math.min(MAX_WAIT_S, 2 ** this.#failures++)) * (1 + Math.random());
    this.#notBefore = Date.now() + wait * 1000;
    this.#schedule(0);
    return false;
  }

  #leave() {
    this.#left = true;
    this.#dwell();
    if (Date.now() < this.#notBefore) return;
    for (const { body } of this.#batches()) if (!navigator.sendBeacon(this.#url("v1/events"), body)) return;
  }

  #pause() {
    this.#dwell();
    for (const { pause } of this.#observed.values()) pause();
    if (!this.#left) this.flush();
  }

  #resume() {
    if (this.#viewed) this.#since = performance.now();
    for (const { resume } of this.#observed.values()) resume();
  }

  #dwell() {
    const value = (performance.now() - this.#since) / 1000; // NaN while nothing is looked at
    if (value >= 1) this.track("custom", { ...this.#viewed, value, properties: { name: "dwell" } });
    this.#since = undefined;
  }

  *#batches() {
    const batch = (keys, rows) => ({ keys, body: `{"events":[${rows}]}` });
    let keys = [], rows = [], size = 0;
    for (const key of this.#keys(EVENT)) {
      const row = this.#store.getItem(key);
      if (row === null) continue; // another tab has sent it
      if (rows.length === BATCH || (rows.length && size + row.length > BATCH_CHARS)) {
        yield batch(keys, rows);
        keys = [], rows = [], size = 0;
      }
      keys.push(key), rows.push(row), size += row.length;
    }
    if (rows.length) yield batch(keys, rows);
  }

  #who() {
    if (!this.#consent) return { visitor_id: `stranger-${newId()}` };
    const visitor_id = this.#store.getItem(VISITOR) ?? newId();
    this.#keep(VISITOR, visitor_id);
    return { visitor_id, user_id: this.#user };
  }

  #keys(prefix) {
    return Object.keys(this.#store).filter((key) => key.startsWith(prefix)).sort();
  }

  #keep(key, value) {
    try {
      this.#store.setItem(key, value);
    } catch { /* the site's quota is used up: this is lost, the shop goes on */ }
  }

  #remove(keys) {
    for (const key of keys) this.#store.removeItem(key);
  }

  #schedule(ms) {
    const due = Math.max(Date.now() + ms, this.#notBefore);
    if (due >= this.#due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => ((this.#due = Infinity), this.flush()), due - Date.now());
  }

  #url(path) {
    return this.#api + path + this.#query + this.#token;
  }
}

let latest = 0;

/** Return a new id; ids sort by when they were made. */
function newId() {
  latest = Math.max(latest + 1, Date.now() * 1000);
  return latest.toString(36) + crypto.getRandomValues(new Uint32Array(2)).join("");
}

/** Return localStorage, or where the browser refuses it what stands in for it until the page ends. */
function openStore() {
  try {
    return localStorage;
  } catch {
    return Object.create({
      getItem(key) { return this[key] ?? null; },
      setItem(key, value) { this[key] = value; },
      removeItem(key) { delete this[key]; },
    });
  }
}
