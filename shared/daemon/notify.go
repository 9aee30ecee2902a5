package daemon

import (
	"context"
	"log/slog"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// NotifyReady notifies systemd, if that started the program with Type=notify, that the program is ready: its listeners
// are open. When ctx ends it notifies systemd that the program is stopping.
func NotifyReady(ctx context.Context, log *slog.Logger) {
	notify(log, systemd.SdNotifyReady)
	context.AfterFunc(ctx, func() { notify(log, systemd.SdNotifyStopping) })
}

// Watchdog returns a function that notifies systemd's watchdog; one goroutine calls it repeatedly while it works. It
// returns nil if the unit has no WatchdogSec=.
func Watchdog(log *slog.Logger) func() {
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		log.With(Component, LogSupervisor).Warn("invalid WATCHDOG_USEC or WATCHDOG_PID; the watchdog is off", "err", err)
	}
	if interval == 0 {
		return nil
	}
	var notified time.Time
	return func() {
		if time.Since(notified) < interval/4 {
			return
		}
		notified = time.Now()
		notify(log, systemd.SdNotifyWatchdog)
	}
}

func notify(log *slog.Logger, state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		log.With(Component, LogSupervisor).Warn("cannot notify systemd", "state", state, "err", err)
	}
}
