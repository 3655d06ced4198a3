// What is said of a picture as several codecs leave it (vaecodec.compare.Version).

function versionsTable(table, versions) {
  table.replaceChildren();
  const head = element(table, "tr");
  for (const text of ["codec", "quality", "bytes", "bits per pixel", "PSNR", "SSIMULACRA2", "settings"])
    element(head, "th", {scope: "col", ...(text === "settings" ? {class: "settings"} : {})}, text);
  for (const version of versions) {
    const line = element(table, "tr");
    element(line, "th", {scope: "row"}, version.name);
    element(line, "td", {}, version.quality);
    element(line, "td", {}, version.bytes.toLocaleString("en") + (version.fits ? "" : " (its smallest)"));
    element(line, "td", {}, version.bpp.toFixed(3));
    element(line, "td", {}, version.psnr === null ? "equal" : `${version.psnr.toFixed(2)} dB`);
    element(line, "td", {}, version.ssimulacra2 === null ? "left out" : version.ssimulacra2.toFixed(1));
    element(line, "td", {class: "settings"}, version.settings);
  }
}

function asShown(version) {
  const figure = version.ssimulacra2 === null ? "" : `, SSIMULACRA2 ${version.ssimulacra2.toFixed(1)}`;
  return {name: version.name, src: version.shown,
    caption: `${version.name}: ${version.bytes.toLocaleString("en")} bytes${figure}`};
}
