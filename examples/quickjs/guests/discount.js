const { tracing } = spanduct;
const apply = tracing.span({ name: "apply discount", fields: ["customer", "percent"] });

apply.run({ customer: "ada", percent: 10 }, () => {
  console.log("a loyal customer");
  return 90;
});
