"use client";

import { Drawer, Switch } from "@mantine/core";
import { useDisclosure, useHotkeys, useLocalStorage } from "@mantine/hooks";
import { useRouter } from "next/navigation";
import { Key } from "#components/ui/key.tsx";
import classes from "./shortcuts.module.css";

const LIST = [
  { keys: ["Space"], text: "pause and go on" },
  { keys: ["1", "2", "3"], text: "requests, input, output in the chart" },
  { keys: ["0"], text: "follow the tightest limit" },
  { keys: ["O"], text: "go to the overview" },
  { keys: ["L"], text: "go to the alerts" },
  { keys: ["?"], text: "this list" },
  { keys: ["Esc"], text: "close" },
] as const;

/** Single keys can be switched off: a voice user's words would press them. */
export function useSingleKeys(): [isOn: boolean, set: (on: boolean) => void] {
  const [isOn, set] = useLocalStorage({ key: "headroom-single-keys", defaultValue: true });
  return [isOn, set];
}

/** Binds the keys that work on every page, and lists all of them under `?`. */
export function Shortcuts({ onPause }: { onPause: () => void }) {
  const [isOpen, { open, close, toggle }] = useDisclosure(false);
  const [isOn, setIsOn] = useSingleKeys();
  const router = useRouter();
  // A focused button or tab keeps Space to itself.
  const ignored = ["INPUT", "TEXTAREA", "SELECT", "BUTTON", "A", "SUMMARY"];
  useHotkeys(isOn ? [["space", onPause]] : [], ignored);
  useHotkeys(
    isOn
      ? [
          ["shift+?", toggle],
          ["?", toggle],
          ["o", () => router.push("/")],
          ["l", () => router.push("/alerts")],
        ]
      : [],
  );
  return (
    <>
      <button type="button" className={classes.button} onClick={open} aria-label="Shortcuts">
        <Key>?</Key> <span>shortcuts</span>
      </button>
      <Drawer
        opened={isOpen}
        onClose={close}
        position="right"
        size={360}
        title="Shortcuts"
        closeButtonProps={{ "aria-label": "Close" }}
        transitionProps={{ duration: 120 }}
      >
        <dl className={classes.list}>
          {LIST.map((entry) => (
            <div key={entry.text}>
              <dt>
                {entry.keys.map((name) => (
                  <Key key={name}>{name}</Key>
                ))}
              </dt>
              <dd>{entry.text}</dd>
            </div>
          ))}
        </dl>
        <Switch
          mt={24}
          label="Single-key shortcuts"
          description="Off, only Esc works."
          checked={isOn}
          onChange={(event) => setIsOn(event.currentTarget.checked)}
        />
      </Drawer>
    </>
  );
}
