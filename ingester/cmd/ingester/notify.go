package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// tellSupervisor tells systemd, if it started us with Type=notify, that the addresses are bound: from here on whoever
// connects is served. When ctx ends it hears that we are on our way out.
func tellSupervisor(ctx context.Context, log *slog.Logger) {
	notify(log, daemon.SdNotifyReady)
	context.AfterFunc(ctx, func() { notify(log, daemon.SdNotifyStopping) })
}

// watchdog gives what one goroutine calls again and again while it works; nil if nobody asks for that (WatchdogSec=).
func watchdog(log *slog.Logger) func() {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("WATCHDOG_USEC or WATCHDOG_PID cannot be read; there is no watchdog", "err", err)
	}
	if interval == 0 {
		return nil
	}
	var told time.Time
	return func() {
		if time.Since(told) < interval/4 {
			return
		}
		told = time.Now()
		notify(log, daemon.SdNotifyWatchdog)
	}
}

func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd cannot be told", "state", state, "err", err)
	}
}
