/** Whether a model is meant by a pattern: its id, or the beginning of it and a `*`. */
export function fitsModel(pattern: string, model: string): boolean {
  return pattern.endsWith("*") ? model.startsWith(pattern.slice(0, -1)) : model === pattern;
}
