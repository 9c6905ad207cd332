const { tracing } = spanduct;

tracing.span({ name: "search for a price" }).run(undefined, () => {
  console.warn("no price yet, trying again");
  for (;;);
});
