# shellcheck shell=bash
# Debian's packages, for the scripts beside this file: sourced, not run.
# $work is a temporary folder, removed at every exit: a signal first waits for
# the commands under way, so that nothing writes into the folder later.
work=$(mktemp -d "${TMPDIR:-/var/tmp}/engine.XXXXXX")
trap 'wait; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

debian_release() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; }

# Print the mirror of this machine (from both formats of apt's sources), else Debian's.
debian_mirror() {
  local mirror
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null | awk '
    $1 == "deb" || $1 == "URIs:" {
      for (i = 2; i <= NF; i++) if ($i ~ /^https?:.*\/debian\/?$/) { print $i; exit }
    }')
  echo "${mirror:-http://deb.debian.org/debian}"
}

# debian_install SUITE PACKAGE...: install packages from SUITE, and dependencies from
# the release of this machine where possible. A separate list of sources leaves the
# machine's apt untouched; --no-remove keeps every installed package (docker.io would
# replace docker-ce: the install fails instead).
debian_install() {
  local suite=$1 own mirror options; shift
  own=$(debian_release)
  mirror=$(debian_mirror)
  mkdir -p "$work/lists/partial" "$work/parts"
  printf "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n" \
    "$mirror" "$suite" "$mirror" "$own" | sort -u >"$work/sources.list"
  options=(-qq "-oDir::State::Lists=$work/lists" "-oDir::Etc::SourceList=$work/sources.list"
    "-oDir::Etc::SourceParts=$work/parts" "-oAPT::Default-Release=$own" -oDpkg::Use-Pty=0)
  export DEBIAN_FRONTEND=noninteractive
  # First finish an install that was cut off half-way.
  quietly dpkg --configure -a &&
    quietly apt-get "${options[@]}" update &&
    quietly apt-get "${options[@]}" install --yes --no-remove --no-install-recommends "${@/%//$suite}"
}

# Print the output of a command only if the command fails.
quietly() {
  local output; output=$(mktemp "$work/output.XXXXXX")
  "$@" >"$output" 2>&1 || { tail -n 30 "$output" >&2; return 1; }
}
