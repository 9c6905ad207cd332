{
  const { id, total } = JSON.parse(order);
  const check = spanduct.tracing.span({ name: "check", fields: ["order"] });
  check.run({ order: id }, () => {
    console.log("looking at the total");
    return `order ${id} costs ${total.toFixed(2)}`;
  });
}
