const limits = JSON.parse($("data").textContent);
const PAUSE = 250;  // milliseconds that the quality stands still before anything is encoded
const sideBySide = viewer($("viewer"));
let file = null, picture = null, running = new AbortController(), timer = 0, url = "";

const count = number => number.toLocaleString("en");
$("limits").textContent = `at most ${count(limits.max_bytes >> 20)} MiB and ${count(Math.floor(limits.max_pixels / 1e6))} megapixels`;
options($("tune"), limits.tunes);
$("quality").value = limits.quality;
$("quality-value").textContent = limits.quality;

// One request; its answer as JSON, or an Error with the server's sentence.
async function ask(path, settings, body, signal) {
  let answer;
  try {
    answer = await fetch(`${path}?${new URLSearchParams(settings)}`, {method: "POST", body, signal});
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Error("The server does not answer: is vaecodec serve still running?");
  }
  const said = await answer.json().catch(() => ({error: `The server failed (${answer.status}); its terminal says why.`}));
  if (said.error) throw new Error(said.error);
  return said;
}

// Begin anew: what still runs of before is given up.
async function anew(work) {
  clearTimeout(timer);
  running.abort();
  const {signal} = running = new AbortController();
  $("error").textContent = "";
  try {
    await work(signal);
  } catch (error) {
    if (!signal.aborted) $("error").textContent = error.message;
  } finally {
    if (!signal.aborted) $("status").textContent = "";
  }
}

function open(chosen) {
  if (!chosen) return;
  anew(async signal => {
    if (chosen.size > limits.max_bytes)
      throw new Error(`${chosen.name}: the file has ${count(chosen.size)} bytes, the limit is ${count(limits.max_bytes)}`);
    $("status").textContent = "reading";
    let said;
    try {
      said = await ask("open", {}, chosen, signal);
    } catch (error) {
      if (!signal.aborted) error.message = `${chosen.name}: ${error.message}`;
      throw error;
    }
    [file, picture] = [chosen, said];
    $("work").hidden = false;
    $("name").textContent = file.name;
    $("about").textContent = [`${picture.width} x ${picture.height} pixels, ${count(file.size)} bytes.`, ...picture.notices].join(" ");
    $("settings").hidden = picture.is_vae;
    if (picture.is_vae) {
      $("versions").replaceChildren();
      sideBySide.show([{name: file.name, src: picture.shown, caption: file.name}], {left: file.name, right: file.name});
    } else await encode(signal);
  });
}

async function encode(signal) {
  const settings = {quality: $("quality").value, tune: $("tune").value};
  $("status").textContent = "encoding";
  const own = await ask("encode", settings, file, signal);
  offer(own);
  const versions = [own.version], original = {name: "original", src: picture.shown, caption: "original"};
  const show = () => {
    versionsTable($("versions"), versions);
    sideBySide.show([original, ...versions.map(asShown)], {left: "original", right: "vaecodec"});
  };
  show();
  for (const [name, title] of Object.entries(limits.peers)) {
    $("status").textContent = `${title} of at most ${count(own.version.bytes)} bytes`;
    versions.push(await ask("peer", {codec: name, size: own.version.bytes}, file, signal));
    show();
  }
}

function offer(own) {
  const bytes = Uint8Array.from(atob(own.file), letter => letter.charCodeAt(0));
  URL.revokeObjectURL(url);
  url = URL.createObjectURL(new Blob([bytes], {type: "application/octet-stream"}));
  const link = $("download");
  link.href = url;
  link.download = file.name.replace(/\.[^.]*$/, "") + ".vae";
  link.textContent = `Download ${link.download} (${count(bytes.length)} bytes)`;
  link.hidden = false;
}

function changed() {
  $("quality-value").textContent = $("quality").value;
  clearTimeout(timer);
  if (file) timer = setTimeout(() => anew(encode), PAUSE);
}
$("quality").addEventListener("input", changed);
$("tune").addEventListener("change", changed);
$("settings").addEventListener("submit", event => event.preventDefault());
$("file").addEventListener("change", () => { open($("file").files[0]); $("file").value = ""; });
addEventListener("paste", event => open(event.clipboardData.files[0]));
addEventListener("dragover", event => { event.preventDefault(); $("drop").classList.add("over"); });
addEventListener("dragleave", () => $("drop").classList.remove("over"));
addEventListener("drop", event => {
  event.preventDefault();
  $("drop").classList.remove("over");
  open(event.dataTransfer.files[0]);
});
