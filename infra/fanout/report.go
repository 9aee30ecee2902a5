package fanout

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Report is the result of a comparison.
type Report struct {
	Clients   int          `json:"clients"`
	Rate      float64      `json:"snapshots_per_second"`
	Points    int          `json:"new_points"`
	Seconds   float64      `json:"seconds"`
	Core      int          `json:"server_core"`
	Shared    bool         `json:"core_shared"` // there is one core for all: only ratios mean something
	Protocols []Comparison `json:"protocols"`
}

// A Comparison is one protocol's part.
type Comparison struct {
	Protocol   string `json:"protocol"`
	NotOffered bool   `json:"not_offered,omitempty"`
	Floor      *Run   `json:"floor,omitempty"`
	Edge       *Run   `json:"edge,omitempty"`
}

func newReport(o Options, core int, shared bool) *Report {
	return &Report{
		Clients: o.Clients, Rate: o.Rate, Points: o.Points, Seconds: o.Duration.Seconds(), Core: core, Shared: shared,
	}
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) {
	fmt.Fprintf(w, "\n%d clients, %v snapshots a second of %d new points, %v s each; servers alone on core %d\n",
		r.Clients, r.Rate, r.Points, r.Seconds, r.Core)
	if r.Shared {
		fmt.Fprintln(w, "there is only one core, which the servers share with their clients: only the ratios mean something")
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf(row, "", "", "", "message", "client", "CPU s per", "latency ms", "", "", "spread ms", "", "memory", "deli-"), " "))
	fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf(row, "protocol", "server", "clients", "B", "B/s", "M messages", "p50", "p99", "max", "p50", "p99", "KiB/client", "vered"), " "))
	for _, c := range r.Protocols {
		c.write(w)
	}
	r.warn(w)
}

const row = "%-14s %-13s %7s %8s %8s %10s %10s %7s %7s %10s %7s %11s %7s"

func (c Comparison) write(w io.Writer) {
	if c.NotOffered {
		fmt.Fprintf(w, "%-14s edge          not offered\n", c.Protocol)
		return
	}
	if c.Floor != nil {
		for _, f := range c.Floor.Stretches {
			writeRow(w, c.Protocol, "floor", f)
		}
	}
	for _, f := range c.Edge.Stretches {
		writeRow(w, c.Protocol, strings.TrimSuffix("edge, "+f.Phase, ", "), f)
		if f.Phase != "" {
			writeRatio(w, "to before", f, c.Edge.Stretches[0])
		} else if floor := c.floorWith(f.Clients); floor != nil {
			writeRatio(w, "to the floor", f, *floor)
		}
	}
	if len(c.Edge.Stretches) > 1 && c.Edge.last().Phase == "" {
		c.writeCapacity(w)
	}
}

// floorWith is the floor's stretch with so many clients, or nil.
func (c Comparison) floorWith(clients int) *Figures {
	if c.Floor == nil {
		return nil
	}
	i := slices.IndexFunc(c.Floor.Stretches, func(f Figures) bool { return f.Clients == clients })
	if i < 0 {
		return nil
	}
	return &c.Floor.Stretches[i]
}

// writeCapacity compares how many clients were served well.
func (c Comparison) writeCapacity(w io.Writer) {
	fmt.Fprintf(w, "%-14s clients with p99 under %d ms: edge %d", c.Protocol, goodLatency, c.Edge.Carries())
	if c.Floor != nil && c.Floor.Carries() > 0 {
		fmt.Fprintf(w, ", floor %d, x %.2f", c.Floor.Carries(), float64(c.Edge.Carries())/float64(c.Floor.Carries()))
	}
	fmt.Fprintln(w)
}

func writeRow(w io.Writer, protocol, name string, f Figures) {
	n := func(decimals int, v float64) string { return fmt.Sprintf("%.*f", decimals, v) }
	fmt.Fprintf(w, row+"\n", protocol, name, strconv.Itoa(f.Clients), n(0, f.MessageBytes), n(0, f.ClientBytes), n(1, f.CPUPerMillion),
		n(1, f.P50), n(1, f.P99), n(1, f.Max), n(1, f.SpreadP50), n(1, f.SpreadP99), n(1, f.Memory), n(4, f.Delivered))
}

func writeRatio(w io.Writer, name string, f, to Figures) {
	n := func(a, b float64) string { return fmt.Sprintf("x %.2f", a/b) }
	fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf(row, "", name, "", n(f.MessageBytes, to.MessageBytes), "",
		n(f.CPUPerMillion, to.CPUPerMillion), n(f.P50, to.P50), n(f.P99, to.P99), n(f.Max, to.Max),
		n(f.SpreadP50, to.SpreadP50), n(f.SpreadP99, to.SpreadP99), "", ""), " "))
}

const (
	// busyGenerator is the share of a core above which the generator's own queue shows in the latencies.
	busyGenerator = 0.7
	// busyOthers is the share of the server's core that others may take before the figures suffer from it.
	busyOthers = 0.1
)

// warn tells what makes figures doubtful, and which connections did not last.
func (r *Report) warn(w io.Writer) {
	for _, c := range r.Protocols {
		for name, run := range map[string]*Run{"floor": c.Floor, "edge": c.Edge} {
			if run != nil {
				run.warn(w, c.Protocol+", "+name+": ")
			}
		}
	}
}

func (r *Run) warn(w io.Writer, prefix string) {
	for _, f := range r.Stretches {
		if f.Generator > busyGenerator {
			fmt.Fprintf(w, "%sthe generator used %.0f %% of a core: it is measured, too\n", prefix, 100*f.Generator)
		}
		if f.Others > busyOthers {
			fmt.Fprintf(w, "%sothers (and interrupts) used %.0f %% of the server's core: latencies are theirs, too; ROUNDS=5 helps\n", prefix, 100*f.Others)
		}
		if f.Untimed > 0 {
			fmt.Fprintf(w, "%s%d messages were no snapshot that was sent\n", prefix, f.Untimed)
		}
	}
	for _, why := range slices.Sorted(maps.Keys(r.Ends)) {
		fmt.Fprintf(w, "%s%d connections: %s\n", prefix, r.Ends[why], why)
	}
	r.warnOfLeaks(w, prefix)
}

// warnOfLeaks compares the server before the first client and after the last.
func (r *Run) warnOfLeaks(w io.Writer, prefix string) {
	if len(r.Soak) < 2 {
		return
	}
	first, last := r.Soak[0], r.Soak[len(r.Soak)-1]
	fmt.Fprintf(w, "%s%d clients came and went; before them and after all: %d and %d goroutines, %d and %d descriptors, "+
		"RSS %d and %d KiB\n", prefix, r.Passed, first.Goroutines, last.Goroutines, first.Descriptors, last.Descriptors,
		first.RSS, last.RSS)
}

func (s Sample) String() string {
	return fmt.Sprintf("%6.0f s %7d clients %9d KiB %7d goroutines %6d descriptors", s.Seconds, s.Clients, s.RSS, s.Goroutines, s.Descriptors)
}
