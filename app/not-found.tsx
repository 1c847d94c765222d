import Link from "next/link";
import { Message } from "#components/layout/message.tsx";

export default function NotFound() {
  return (
    <Message title="There is no such page">
      <p>The address may be misspelt, or what it showed is gone.</p>
      <p>
        <Link href="/">Go to the overview</Link>
      </p>
    </Message>
  );
}
