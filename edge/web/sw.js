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

/** All files at once, so that a cache never has some of one version and some of another. */
async function install() {
  const cache = await caches.open(CACHE);
  await cache.addAll(shell.files.map((file) => new Request(scope + file, { cache: "no-cache" })));
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

worker.addEventListener("install", (event) => event.waitUntil(install()));
worker.addEventListener("activate", (event) => event.waitUntil(activate()));
worker.addEventListener("fetch", (event) => {
  const address = addressOf(event.request);
  if (address !== null) event.respondWith(respond(event.request, address));
});
