import { connect, disconnect } from "@spanduct/sandbox/iframe";

// A page without an origin does not know that of its host.
const tracing = connect({ hostOrigin: "*", captureConsole: true });
const show = tracing.span({ name: "show weather", fields: ["city", "degrees"] });
const DEGREES: { readonly [city: string]: number } = { Oslo: -3 };

const city = location.search.slice(1);
const span = show.enter({ city });
console.log(`asked for ${city}`);
const degrees = DEGREES[city];
if (degrees === undefined) throw new RangeError(`there is no weather in ${city}`);
document.body.append(`${city}: ${degrees} °C`);
span.record({ degrees });
span.close();
disconnect();
