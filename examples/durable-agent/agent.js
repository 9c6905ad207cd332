const { tracing } = spanduct;
const agentSpan = tracing.span({ name: "agent", fields: ["question", "answer"] });
const toolSpan = tracing.span({ name: "tool", fields: ["tool", "result"] });

// The host finds what is asked for here, and answers, maybe in another process.
globalThis.request = undefined;
function call(tool, input) {
  return toolSpan.run({ tool }, async (span) => {
    const result = await new Promise((resolve) => {
      globalThis.request = { tool, input };
      globalThis.reply = (value) => {
        globalThis.request = undefined;
        resolve(value);
      };
    });
    span.record({ result });
    return result;
  });
}

async function agent(question) {
  const span = agentSpan.enter({ question });
  const pages = await call("search", question);
  console.log(`reading ${pages}`);
  const height = await call("read", pages);
  const steps = await call("calculate", `${height} / 0.17`);
  span.record({ answer: `${steps} steps` });
  span.close();
}
agent("How many steps has the tower?");
