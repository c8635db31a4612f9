"""Scripts around a command, in its container: `pre_run`, the command, `post_run`, as one program.

Seen from outside it is the command: its exit status and the signal it died of, and a stop reaches it.
"""

from collections.abc import Sequence

from temporal_runs.environment import Environment, interpreter


def around(argv: Sequence[str], environment: Environment) -> list[str]:
    """The command with the environment's scripts around it; as it is where there are none. The image needs /bin/sh.

    A `pre_run` that fails ends it with its status, and the command is not run. `post_run` runs after the command,
    however that ended; its status is the Run's where the command's was 0. Beside a `post_run` a command ignores SIGINT,
    as any in a shell's background; nothing of ours sends it.
    """
    if not (environment.pre_run or environment.post_run):
        return list(argv)
    pre_run, post_run = environment.pre_run or "", environment.post_run or ""
    return [
        *("/bin/sh", "-c", _PROGRAM, "temporal-runs"),
        *(_words(interpreter(pre_run)), pre_run),
        *(_words(interpreter(post_run)), post_run),
        *argv,
    ]


def _words(program: list[str]) -> str:
    return " ".join(program)


_PROGRAM = r"""
pre_shell=$1 pre_run=$2 post_shell=$3 post_run=$4
shift 4

# A stop comes as SIGTERM to this shell; what runs is told once there is something to tell.
stopped= untold= child=
tell() { if [ "$untold" ] && [ "$child" ]; then untold=; kill -TERM "$child"; fi; }
trap 'stopped=1 untold=1 woken=1; tell' TERM

# Gives the status of a program that is at work in the background, where a signal does not have to wait for its end.
status_of() {
    tell
    woken=
    wait "$child" 2> /dev/null # where some shells print what a program died of
    status=$?
    # A signal ends the wait before the program has ended, unless it came just after: then there is none to wait for.
    while [ "$woken" ]; do
        woken=
        wait "$child" 2> /dev/null
        again=$?
        [ "$again" = 127 ] || status=$again
    done
    child=
    return "$status"
}

if [ "$pre_run" ]; then
    # With exec: only programs are meant, none of this shell's own functions. With a trap: until the program has taken
    # the subshell's place, a signal would be kept for a handler that is no more.
    (trap 'exit 143' TERM; exec $pre_shell -c "$pre_run" pre_run) & child=$!
    status_of || { status=$?; echo "pre_run ended with status $status: the command was not run" >&2; exit "$status"; }
    [ -z "$stopped" ] || exit 143
fi

[ "$post_run" ] || exec "$@"

(trap 'exit 143' TERM; exec "$@") & child=$!
status_of
status=$?

# It is what a stop leaves time for: it is not told.
$post_shell -c "$post_run" post_run
after=$?
if [ "$status" = 0 ] && [ "$after" != 0 ]; then
    echo "post_run ended with status $after" >&2
    status=$after
fi
exit "$status"
"""
