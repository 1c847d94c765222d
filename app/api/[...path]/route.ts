import { fault } from "#lib/http.ts";
import { AppError } from "#lib/kit/errors.ts";

/** Whatever no other route of `/api` takes. */
function handle(request: Request): Response {
  const { pathname } = new URL(request.url);
  return fault(new AppError("not_found", `There is no ${request.method} ${pathname}; the README lists what there is.`));
}

export { handle as DELETE, handle as GET, handle as PATCH, handle as POST, handle as PUT };
