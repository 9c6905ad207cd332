// Guest 2: a script as a user of your product might write it. It runs in QuickJS and sees nothing of the host but the globals
// `documents` (a list of { path, text }) and `spanduct`.
//
// It has a bug, on purpose: it believes that every file name has an extension.
const { tracing } = spanduct;
const target = "check-links (QuickJS)";
const checkLinks = tracing.span({ name: "check links", target, fields: ["documents"] });
const checkDocument = tracing.span({ name: "check document", target, fields: ["path", "headings", "links"] });
const checkLink = tracing.span({ name: "check link", target, level: "debug", fields: ["to", "kind"] });

const all = checkLinks.enter({ documents: documents.length });
for (const { path, text } of documents) {
  checkDocument.run({ path }, (span) => {
    const links = [...text.matchAll(/(?<!!)\[[^\]]*\]\(([^)\s]+)\)/g)].map((match) => match[1]);
    span.record({ headings: text.match(/^#+ /gm)?.length ?? 0, links: links.length });
    for (const to of links) {
      try {
        checkLink.run({ to }, (span) => span.record({ kind: kindOf(to) }));
      } catch (cause) {
        throw new Error(`cannot check the link to ${to} in ${path}`, { cause });
      }
    }
  });
}
all.close();

function kindOf(link) {
  if (/^https?:/.test(link)) return "elsewhere";
  if (link.startsWith("#")) return "heading";
  return extensionOf(link.split("#")[0]);
}

function extensionOf(file) {
  return file.match(/\.(\w+)$/)[1].toLowerCase();
}
