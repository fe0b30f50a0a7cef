// Looks at the page in headless Chromium, at several sizes, in light and dark, and says what is
// there as JSON. Speaks Chromium's own protocol over a pipe, so that it needs no package.
//
// node look.mjs URL DIRECTORY: one line of JSON for the pages; then, when a line comes on stdin,
// another one for what the page says once the server has gone.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [url, directory] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "entrapool-browser-"));
const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--disable-dev-shm-usage", "--no-proxy-server", `--user-data-dir=${profile}`,
  "--remote-debugging-pipe", "about:blank"];
const browser = spawn(process.env.CHROMIUM || "chromium", flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
browser.on("error", (error) => { console.error(`chromium: ${error.message}`); process.exit(1); });
const [, , , toBrowser, fromBrowser] = browser.stdio;

let last = 0;
const waiting = new Map();
const seen = { console: [], requests: [] };
let rest = Buffer.alloc(0);
fromBrowser.on("data", (data) => {
  rest = Buffer.concat([rest, data]);
  for (let end; (end = rest.indexOf(0)) >= 0; rest = rest.subarray(end + 1)) heard(JSON.parse(rest.subarray(0, end)));
});
function heard({ id, method, params, result, error }) {
  if (id) {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    return error ? reject(new Error(error.message)) : resolve(result);
  }
  if (method === "Runtime.consoleAPICalled") seen.console.push(JSON.stringify(params.args));
  if (method === "Runtime.exceptionThrown") seen.console.push(params.exceptionDetails.text);
  if (method === "Log.entryAdded") seen.console.push(params.entry.text);
  if (method === "Network.requestWillBeSent") seen.requests.push(params.request.url);
}
function ask(method, params = {}, sessionId = undefined) {
  const id = ++last;
  toBrowser.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

const { targetId } = await ask("Target.createTarget", { url: "about:blank" });
const { sessionId } = await ask("Target.attachToTarget", { targetId, flatten: true });
const page = (method, params) => ask(method, params, sessionId);
for (const domain of ["Page", "Runtime", "Log", "Network"]) await page(`${domain}.enable`);
async function evaluate(expression) {
  const { result, exceptionDetails } = await page("Runtime.evaluate", { expression, returnByValue: true });
  if (exceptionDetails) throw new Error(exceptionDetails.text);
  return result.value;
}
async function until(expression) {
  for (let turn = 0; turn < 200; turn += 1) {
    if (await evaluate(expression)) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`never: ${expression}; the page: ${await evaluate("document.body.innerText")}`);
}

const looks = [];
for (const [width, height] of [[390, 844], [1280, 900]]) {
  for (const scheme of ["light", "dark"]) {
    await page("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 500 });
    await page("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
    await page("Page.navigate", { url });
    await until("document.getElementById('shown')?.getAttribute('aria-busy') === 'false'");
    const look = await evaluate(`({
      scrollWidth: document.scrollingElement.scrollWidth, clientWidth: document.documentElement.clientWidth,
      text: document.body.innerText, background: getComputedStyle(document.body).backgroundColor,
      tables: [...document.querySelectorAll("table")].map((t) => t.caption.textContent),
      cut: [...document.querySelectorAll("td, th, dd")].filter((c) => c.scrollWidth > c.clientWidth + 1 && c.offsetParent && !c.closest("thead")).map((c) => c.textContent),
    })`);
    const { cssContentSize } = await page("Page.getLayoutMetrics");
    const shot = await page("Page.captureScreenshot", { captureBeyondViewport: true,
      clip: { x: 0, y: 0, width, height: Math.max(height, cssContentSize.height), scale: 1 } });
    writeFileSync(join(directory, `page-${width}-${scheme}.png`), Buffer.from(shot.data, "base64"));
    looks.push({ width, scheme, ...look });
  }
}
// It looks again by itself.
const before = seen.requests.length;
await until("performance.getEntriesByName(new URL('status.json', location).href).length > 1");
console.log(JSON.stringify({ looks, refreshed: seen.requests.length > before, ...seen }));

await new Promise((done) => createInterface({ input: process.stdin }).once("line", done));
await until("!document.getElementById('lost').hidden");
const shot = await page("Page.captureScreenshot", {});
writeFileSync(join(directory, "page-lost.png"), Buffer.from(shot.data, "base64"));
console.log(JSON.stringify({ lost: await evaluate("document.getElementById('lost').innerText"), state: await evaluate("document.getElementById('state').innerText") }));
await ask("Browser.close").catch(() => {});
browser.once("exit", () => { rmSync(profile, { recursive: true, force: true }); process.exit(0); });
