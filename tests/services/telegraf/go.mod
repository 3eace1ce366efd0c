// Builds Telegraf from the Go module proxy, the peer of docs/benchmarks.md. Built with -mod=mod, so that only what
// the chosen plugins need is downloaded.
module telegraf-build

go 1.26.0

require github.com/influxdata/telegraf v1.39.0
