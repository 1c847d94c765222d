"use client";

import { CopyButton } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import classes from "./code-block.module.css";

type CodeBlockProps = {
  code: string;
  label: string;
  /** The part of the text that matters; set off by colour. */
  marked?: string;
};

/** Text to be taken elsewhere, with a button that takes it. */
export function CodeBlock({ code, label, marked }: CodeBlockProps) {
  return (
    <div className={classes.block}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls sideways, so the keyboard must reach it */}
      <section tabIndex={0} aria-label={label} className={classes.text}>
        <code>
          {code.split("\n").map((line, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: lines of a fixed text
            <span key={index} data-comment={line.startsWith("#") || undefined}>
              <Marked line={line} part={marked} />
              {"\n"}
            </span>
          ))}
        </code>
      </section>
      <CopyButton value={code}>
        {({ copied, copy }) => (
          <button type="button" className={classes.copy} onClick={copy}>
            {copied ? <IconCheck size={14} aria-hidden /> : <IconCopy size={14} aria-hidden />}
            <span aria-live="polite">{copied ? "Copied" : "Copy"}</span>
          </button>
        )}
      </CopyButton>
    </div>
  );
}

function Marked({ line, part }: { line: string; part?: string | undefined }) {
  const at = part ? line.indexOf(part) : -1;
  if (!part || at < 0) return line;
  return (
    <>
      {line.slice(0, at)}
      <mark>{part}</mark>
      {line.slice(at + part.length)}
    </>
  );
}
