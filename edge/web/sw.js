// @ts-check
// The service worker: it shows the pages while the edge cannot be reached. While it can, every response is the edge's own,
// also an error. It touches only the pages and their files, so prices are never old ones.
//
// The edge puts a line in front of this file: self.shell = { version, files }.

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

/** Paths of the pages and their files, relative to the scope, and a hash of their contents. */
const shell = /** @type {{version: string, files: string[]}} */ (Reflect.get(self, "shell"));

const PREFIX = "sightglass-"; // of this edge's caches; others on the same host may have their own
const { scope } = worker.registration;
const CACHE = `${PREFIX}${shell.version} ${scope}`; // each scope has its own

/** The address of one of the shell's files, without the query; null for others. @param {Request} request */
function addressOf({ method, url }) {
  const address = url.replace(/[?#].*/s, "");
  const isOurs = method === "GET" && address.startsWith(scope) && shell.files.includes(address.slice(scope.length));
  return isOurs ? address : null;
}

/** Stores all files, or none. A page that a proxy redirects, to a login for example, is not one of them. */
async function install() {
  const cache = await caches.open(CACHE);
  await cache.addAll(shell.files.map((file) => new Request(scope + file, { cache: "no-cache", redirect: "error" })));
  await worker.skipWaiting();
}

/** Deletes the caches of earlier versions, and takes over pages that were opened before. */
async function activate() {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith(PREFIX) && name.endsWith(` ${scope}`) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await worker.clients.claim();
}

/** The edge's response, or the cached one if there is none. @param {Request} request @param {string} address */
async function respond(request, address) {
  try {
    return await fetch(request);
  } catch (failure) {
    const cached = await (await caches.open(CACHE)).match(address, { ignoreVary: true });
    if (cached) return cached;
    throw failure;
  }
}

/** A click on a notification leads to the page. @param {NotificationEvent} event */
async function open({ notification }) {
  notification.close();
  const pages = await worker.clients.matchAll({ type: "window" });
  const page = pages.find(({ url }) => url.replace(/[?#].*/s, "") === scope);
  await (page ? page.focus() : worker.clients.openWindow(scope));
}

worker.addEventListener("notificationclick", (event) => event.waitUntil(open(event)));
worker.addEventListener("install", (event) => event.waitUntil(install()));
worker.addEventListener("activate", (event) => event.waitUntil(activate()));
worker.addEventListener("fetch", (event) => {
  const address = addressOf(event.request);
  if (address !== null) event.respondWith(respond(event.request, address));
});
