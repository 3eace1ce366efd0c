// Command windowbroker is an MQTT 3.1.1 and 5 broker that enforces its in-flight windows, for tests.
package main

import (
	"flag"
	"fmt"
	"log"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"syscall"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// window lowers what a client asked for (receive maximum) to the window of the broker, also for 3.1.1. The
// server's own MaximumInflight would do otherwise: it drops what does not fit instead of holding it.
//
// What was held and then sent, the server forgets at once: its acknowledgement frees no room (mended here), a
// new connection does not get it again (not mended: no test may end a connection and count), and messages
// held in the same second leave in any order.
type window struct {
	mqtt.HookBase
	size uint16
}

func (w *window) ID() string { return "window" }

func (w *window) Provides(event byte) bool {
	return event == mqtt.OnConnect || event == mqtt.OnPacketRead
}

func (w *window) OnConnect(client *mqtt.Client, _ packets.Packet) error {
	properties := &client.Properties.Props
	if properties.ReceiveMaximum == 0 || properties.ReceiveMaximum > w.size {
		properties.ReceiveMaximum = w.size
	}
	client.State.Inflight.ResetSendQuota(int32(properties.ReceiveMaximum))
	return nil
}

func (w *window) OnPacketRead(client *mqtt.Client, packet packets.Packet) (packets.Packet, error) {
	if packet.FixedHeader.Type == packets.Puback {
		if _, known := client.State.Inflight.Get(packet.PacketID); !known {
			client.State.Inflight.IncreaseSendQuota()
		}
	}
	return packet, nil
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	port := flag.Int("port", 1883, "loopback port to listen on")
	receiveMaximum := flag.Uint("receive-maximum", 1024, "messages one client may have on the way to the broker")
	inflight := flag.Uint("inflight", 20, "messages on the way to one client")
	flag.Parse()

	capabilities := mqtt.NewDefaultServerCapabilities()
	capabilities.ReceiveMaximum = uint16(*receiveMaximum)
	capabilities.MaximumInflight = math.MaxUint16 // held for one client, on the way or not
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	server := mqtt.New(&mqtt.Options{Capabilities: capabilities, Logger: logger})
	must(server.AddHook(new(auth.AllowHook), nil))
	must(server.AddHook(&window{size: uint16(*inflight)}, nil))
	address := fmt.Sprintf("127.0.0.1:%d", *port)
	must(server.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: address})))
	must(server.Serve())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
	must(server.Close())
}
