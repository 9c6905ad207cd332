import { type ArgsDef, type CommandDef, defineCommand } from "citty";

/** A command whose options are its own business: in a list of commands they differ. */
export function command<const Options extends ArgsDef>(definition: CommandDef<Options>): CommandDef {
  return defineCommand(definition) as unknown as CommandDef;
}
