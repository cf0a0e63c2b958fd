/** The example shop: slates from the API, and what becomes of them logged by its client. */

const { api, key } = await (await fetch("config.json")).json();
const { items } = await (await fetch("catalogue.json")).json();
const { Headrace } = await import(`${api}/client/headrace.js`);

const CONSENT = "tailrace:consent", ACCOUNT = "tailrace:account", CART = "tailrace:cart";
const SHOWN = 12, HUES = { tents: 145, boots: 28, stoves: 8, lamps: 46, packs: 200, jackets: 222, cycling: 286, bottles: 175 };
const goods = new Map(items.map((item) => [item.item_id, item]));
const element = (id) => document.getElementById(id);
const titleOf = (id) => goods.get(id)?.attributes.title ?? id;

/** The client, which also tells the page what it logs. */
class Shown extends Headrace {
  track(type, fields) {
    super.track(type, fields);
    if (!element("consent").checked) return;
    const of = fields.items ?? [fields];
    const line = document.createElement("li");
    const seconds = fields.value ? ` ${fields.value.toFixed(1)} s` : "";
    line.textContent = `${fields.properties?.name ?? type}${seconds}: ${of.map((one) => titleOf(one.item_id)).join(", ")}`;
    element("logged").prepend(line);
    element("logged").children[20]?.remove();
  }
}

const consent = localStorage.getItem(CONSENT) === "yes"; // what the shop's own banner was told
const headrace = new Shown({ api, key, consent });
let before = []; // the slate at home as it was last shown
let last = null; // the item that was looked at last

function picture(svg, item) {
  const [kind] = item.categories;
  svg.style.setProperty("--hue", HUES[kind]);
  svg.querySelector("use").setAttribute("href", `#i-${kind}`);
}

function card({ item_id, reason }) {
  const item = goods.get(item_id);
  const made = element("card").content.cloneNode(true).firstElementChild;
  made.dataset.itemId = item_id;
  picture(made.querySelector("svg"), item);
  const link = made.querySelector("a");
  link.textContent = item.attributes.title;
  link.href = `#${item_id}`;
  made.querySelector(".price").textContent = `€ ${item.price}`;
  made.querySelector(".reason").textContent = reason.text.replace(reason.item_id, titleOf(reason.item_id));
  made.querySelector("button").setAttribute("aria-label", `Add ${item.attributes.title} to the cart`);
  return made;
}

function showItem(item) {
  const box = element("item");
  box.hidden = !item;
  if (!item) return box.replaceChildren();
  const drawn = element("card").content.querySelector("svg").cloneNode(true);
  picture(drawn, item);
  const words = [["p", item.brand, "brandname"], ["h1", item.attributes.title, ""], ["p", `€ ${item.price}`, "price"]];
  box.replaceChildren(drawn, ...words.map(([tag, text, className]) =>
    Object.assign(document.createElement(tag), { textContent: text, className })));
  box.querySelector("h1").tabIndex = -1; // takes the focus when the page changes
}

function tellChange(slate) {
  const ids = slate.items.map(({ item_id }) => item_id);
  const fresh = ids.filter((id) => !before.includes(id));
  const isTold = before.length && last && fresh.length;
  element("changed").textContent = isTold ? `${fresh.length} of ${ids.length} are new since you looked at ${titleOf(last)}` : "";
  for (const made of element("slate").children) made.classList.toggle("new", isTold && fresh.includes(made.dataset.itemId));
  before = ids;
}

async function show() {
  const item = goods.get(decodeURIComponent(location.hash.slice(1)));
  headrace.view(item?.item_id ?? null);
  showItem(item);
  element("title").textContent = item ? "Goes well with it" : "For you";
  element("title").ariaLevel = item ? "2" : "1";
  element("changed").textContent = "";
  document.title = `${item ? item.attributes.title : "For you"} · Tailrace`;
  try {
    const slate = await headrace.recommend(item ? { surface: "item", item_id: item.item_id, n: 6 } : { n: SHOWN });
    element("slate").replaceChildren(...slate.items.filter(({ item_id }) => goods.has(item_id)).map(card));
    headrace.observe(element("slate"), slate);
    if (!item) tellChange(slate);
  } catch (error) {
    element("slate").replaceChildren(...items.slice(0, SHOWN).map(({ item_id }) => card({ item_id, reason: { text: "" } })));
    element("changed").textContent = "No suggestions just now: this is our assortment.";
    console.warn(error);
  }
  last = item?.item_id ?? last;
}

function tellAccount() {
  element("account").textContent = localStorage.getItem(ACCOUNT) ? "Sign out" : "Sign in";
}

element("consent").checked = consent;
element("silence").hidden = consent;
element("consent").addEventListener("change", ({ target }) => {
  localStorage.setItem(CONSENT, target.checked ? "yes" : "no");
  headrace.setConsent(target.checked);
  element("silence").hidden = target.checked;
  element("logged").replaceChildren();
  before = [];
  show();
});

element("account").addEventListener("click", () => {
  if (localStorage.getItem(ACCOUNT)) localStorage.removeItem(ACCOUNT);
  else localStorage.setItem(ACCOUNT, "ada");
  headrace.identify(localStorage.getItem(ACCOUNT));
  tellAccount();
  show();
});

element("slate").addEventListener("click", ({ target }) => {
  if (!target.closest("[data-event]")) return;
  const count = Number(localStorage.getItem(CART)) + 1;
  localStorage.setItem(CART, count);
  element("cart").textContent = `Cart ${count}`;
});

addEventListener("hashchange", async () => {
  await show();
  document.querySelector("main h1").focus({ preventScroll: true });
  scrollTo(0, 0);
});

element("cart").textContent = `Cart ${localStorage.getItem(CART) ?? 0}`;
tellAccount();
headrace.identify(localStorage.getItem(ACCOUNT));
show();
