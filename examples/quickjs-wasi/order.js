const { tracing } = spanduct;
const approval = new Promise((resolve) => {
  globalThis.approve = resolve;
});

async function order(item) {
  const span = tracing.span({ name: "order", fields: ["item", "approvedBy"] }).enter({ item });
  console.log("waiting for somebody to approve");
  const name = await approval;
  span.record({ approvedBy: name });
  tracing.span({ name: "ship" }).run(undefined, () => console.log("on its way"));
  span.close();
}
order("bicycle");
