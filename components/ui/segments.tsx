"use client";

import { SegmentedControl } from "@mantine/core";
import classes from "./segments.module.css";

type SegmentsProps<Value extends string> = {
  label: string;
  data: readonly { value: Value; label: string }[];
  value: Value;
  onChange: (value: Value) => void;
  fullWidth?: boolean;
  className?: string;
};

/** A choice of a few, all in sight. */
export function Segments<Value extends string>({ label, data, className, ...rest }: SegmentsProps<Value>) {
  return (
    <SegmentedControl<Value>
      aria-label={label}
      data={[...data]}
      transitionDuration={0}
      className={className}
      classNames={{
        root: classes.root,
        control: classes.control,
        label: classes.label,
        indicator: classes.indicator,
      }}
      {...rest}
    />
  );
}
