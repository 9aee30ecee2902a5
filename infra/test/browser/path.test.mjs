// Tests of the pages and the client under a path of a host, UNDER, served by an edge with --base-path or by a proxy.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { LIVE, drawn, open, state, updates } from "./harness.mjs";

const { UNDER, SITE } = process.env;
if (!UNDER || !SITE) throw new Error("UNDER and SITE are not set: `make browser` runs these");

/** Another site, whose pages may connect (--allowed-origins): one frames the card, one has the client's script. */
const site = createServer((request, answer) => {
  answer.setHeader("Content-Type", "text/html; charset=utf-8");
  answer.end(`<!doctype html><title>Another site</title><link rel="icon" href="data:,">` + {
    "/framing": `<iframe width="400" height="300" src="${UNDER}/embed?theme=dark"></iframe>`,
    "/importing": `<p id="price"></p><script type="module">
      import { StreamClient } from "${UNDER}/static/client.js";
      const client = new StreamClient();
      client.addEventListener("snapshot", () => { document.getElementById("price").textContent = String(client.snapshot.price); });
      client.start();
    </script>`,
  }[request.url]);
});
site.listen(Number(new URL(`http://${SITE}`).port), "127.0.0.1");
await once(site, "listening");
after(() => { site.close(); site.closeAllConnections(); });

const price = (page) => page.waitForFunction(() => /\d/.test(document.getElementById("price").textContent));

test("the path without its slash leads to the dashboard, which is live", async (t) => {
  const page = await open(t, { url: UNDER });
  assert.equal(page.url(), `${UNDER}/`);
  await state(page, LIVE);
  await price(page);
  await drawn(page);
  await updates(page, 4);
});

test("every link of the dashboard is under the path", async (t) => {
  const page = await open(t, { url: `${UNDER}/` });
  await state(page, LIVE);
  const links = await page.locator("a").evaluateAll((all) => all.map((a) => a.href));
  assert.equal(links.length, 5, `${links}`);
  for (const link of links) {
    assert.ok(link.startsWith(`${UNDER}/`), link);
    const { status } = await fetch(link);
    assert.equal(status, 200, link);
  }
  await page.click("#permalink");
  await page.waitForFunction(() => /link/i.test(document.getElementById("message").textContent));
  assert.match(page.url(), /#.*theme=/);
  assert.ok(page.url().startsWith(`${UNDER}/#`), page.url());
  await page.reload();
  await state(page, LIVE);
});

for (const path of ["clock", "embed"]) {
  test(`/${path} is live, also with a slash at its end, and leads to the dashboard`, async (t) => {
    const page = await open(t, { url: `${UNDER}/${path}?theme=dark` });
    await state(page, LIVE);
    await price(page);
    await updates(page, 2);
    await page.goto(`${UNDER}/${path}/?theme=dark`);
    assert.equal(page.url(), `${UNDER}/${path}?theme=dark`);
    await state(page, LIVE);
    await page.click("a");
    await page.waitForURL(`${UNDER}/`);
    await state(page, LIVE);
  });
}

test("another site frames the card", async (t) => {
  const page = await ofSite(t, "/framing");
  const card = page.frames()[1];
  await card.waitForFunction(() => /^live/.test(document.getElementById("state").textContent.trim()));
  await price(card);
});

test("another site imports the client, which connects to its own edge", async (t) => {
  const page = await ofSite(t, "/importing");
  await price(page);
  await page.waitForFunction(() => window.seen.messages >= 3);
});

/** Opens a page of the other site, which may request URLs under the path, and no others of the host. */
function ofSite(t, path) {
  const under = UNDER.replace(/^http/, "").replaceAll(".", "\\.");
  return open(t, { url: `http://${SITE}${path}`, expected: [new RegExp(`^(request to http|socket to ws)${under}/`)] });
}

test("the API's document names the API's server", async () => {
  const at = `${UNDER}/api/openapi.json`;
  const { servers, paths } = await (await fetch(at)).json();
  const server = new URL(servers[0].url, at);
  const { status } = await fetch(new URL(`.${Object.keys(paths).find((path) => path.endsWith("/snapshot"))}`, server));
  assert.equal(status, 200);
});

for (const [query, names] of [["", ["snapshot"]], ["?form=delta", ["keyframe", "delta"]]]) {
  test(`EventSource${query} gets increasingly new snapshots`, async (t) => {
    const page = await open(t, { url: `${UNDER}/` });
    await state(page, LIVE);
    const events = await page.evaluate(([url, names]) => new Promise((resolve, reject) => {
      const stream = new EventSource(url), events = [];
      stream.onerror = () => reject(new Error(`the stream failed after ${events.length} events`));
      for (const name of names) {
        stream.addEventListener(name, ({ data, lastEventId }) => {
          const { seq, status } = JSON.parse(data);
          if (status !== "stale") events.push({ name, id: lastEventId, seq }); // a stale one repeats the last, on a machine that stalls
          if (events.length < 5) return;
          stream.close();
          resolve(events);
        });
      }
    }), [`${UNDER}/api/v1/stream${query}`, names]);
    assert.equal(events[0].name, names[0]);
    assert.ok(events.some((e) => e.name === names.at(-1)), `got only ${events.map((e) => e.name)}`);
    for (const [i, { id, seq }] of events.entries()) {
      assert.match(id, new RegExp(`^\\d+-${seq}$`));
      if (i > 0) assert.ok(seq > events[i - 1].seq, `seq ${seq} after ${events[i - 1].seq}`);
    }
  });
}
