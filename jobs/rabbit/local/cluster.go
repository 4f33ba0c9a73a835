package local

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/warrenjobs/warren/jobs/child"
)

// Cluster is a RabbitMQ cluster on this machine, for tests: each node can be killed and restarted.
// It needs an installed RabbitMQ. Its methods may be called concurrently, but not for the same node.
type Cluster struct {
	nodes []*clusterNode
	epmd  *child.Process
}

type clusterNode struct {
	node
	mu      sync.Mutex
	process *child.Process // nil, or ended, while the node is down
}

// member is the additional configuration of a node of a cluster.
type member struct {
	name  string // such as n1@localhost
	peers []string
}

func (m *member) settings() []string {
	lines := []string{
		"cluster_formation.peer_discovery_backend = classic_config",
		"cluster_partition_handling = pause_minority",
		"vm_memory_high_watermark.absolute = 512MB", // overrides the node's setting: the last one counts
		"raft.wal_max_size_bytes = 16000000",
	}
	for i, peer := range m.peers {
		lines = append(lines, fmt.Sprintf("cluster_formation.classic_config.nodes.%d = %s", i+1, peer))
	}
	return lines
}

// StartCluster starts a new cluster with that many nodes in dir, which must not contain a cluster
// already. It returns when all nodes accept connections and see each other, so that a quorum queue
// gets a member on each: some 15 s for three nodes on two cores. If it fails, nothing is left running.
func StartCluster(ctx context.Context, dir string, nodes int) (*Cluster, error) {
	c, err := newCluster(dir, nodes)
	if err == nil {
		err = c.start(ctx)
	}
	if err != nil {
		if c != nil {
			c.Stop()
		}
		return nil, fmt.Errorf("start a RabbitMQ cluster: %w", err)
	}
	return c, nil
}

func newCluster(dir string, nodes int) (*Cluster, error) {
	var shared Ports
	if err := shared.choose(); err != nil {
		return nil, err
	}
	c := &Cluster{}
	var peers []string
	for i := range nodes {
		peers = append(peers, fmt.Sprintf("n%d@localhost", i+1))
	}
	for i := range nodes {
		home, err := openFolder(filepath.Join(dir, "n"+strconv.Itoa(i+1)))
		if err != nil {
			return nil, err
		}
		ports := Ports{Epmd: shared.Epmd}
		if err := ports.choose(); err != nil {
			return nil, err
		}
		n := &clusterNode{}
		if n.node, err = newNode(home, ports, ""); err != nil {
			return nil, err
		}
		n.member = &member{peers[i], peers}
		c.nodes = append(c.nodes, n)
	}
	return c, c.configure()
}

// configure configures all nodes with the password of the first, and one Erlang cookie.
func (c *Cluster) configure() error {
	password, err := c.nodes[0].folder.password()
	if err != nil {
		return err
	}
	cookie := rand.Text()
	for _, n := range c.nodes {
		n.password = password
		if err := n.configure(cookie); err != nil {
			return err
		}
	}
	return nil
}

// start boots the first node, then all others concurrently, which join it.
func (c *Cluster) start(ctx context.Context) (err error) {
	if c.epmd, err = child.Start(c.nodes[0].epmd()); err != nil {
		return err
	}
	if err := awaitPort(ctx, c.nodes[0].ports.Epmd, c.epmd); err != nil {
		return err
	}
	if err := c.nodes[0].boot(ctx); err != nil {
		return err
	}
	booted := make(chan error, len(c.nodes))
	for _, n := range c.nodes[1:] {
		go func() { booted <- n.boot(ctx) }()
	}
	for range c.nodes[1:] {
		err = errors.Join(err, <-booted)
	}
	if err != nil {
		return err
	}
	return await(ctx, c.epmd.Done(), c.epmd.Ended, c.complete)
}

// boot starts the node and waits until it accepts connections.
func (n *clusterNode) boot(ctx context.Context) error {
	process, err := child.Start(n.broker())
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.process = process
	n.mu.Unlock()
	return await(ctx, process.Done(), process.Ended, func(ctx context.Context) error {
		if err := managementAnswers(ctx, n.ports.Management, n.password); err != nil {
			return err
		}
		return amqpAnswers(n.ports.AMQP)
	})
}

func (n *clusterNode) kill() {
	n.mu.Lock()
	process := n.process
	n.mu.Unlock()
	if process != nil {
		process.Kill()
	}
}

func (n *clusterNode) runs() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return false
	}
	select {
	case <-n.process.Done():
		return false
	default:
		return true
	}
}

// complete returns an error until every node sees all others running.
func (c *Cluster) complete(ctx context.Context) error {
	for _, n := range c.nodes {
		var known []struct{ Running bool }
		if err := n.get(ctx, "/api/nodes?columns=name,running", &known); err != nil {
			return err
		}
		running := 0
		for _, k := range known {
			if k.Running {
				running++
			}
		}
		if running != len(c.nodes) {
			return fmt.Errorf("%s sees %d running nodes of %d", n.member.name, running, len(c.nodes))
		}
	}
	return nil
}

// get requests path from the node's management API and decodes the answer into into.
func (n *clusterNode) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address(n.ports.Management)+path, nil)
	if err != nil {
		return err
	}
	request.SetBasicAuth(name, n.password)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s to %s", n.member.name, response.Status, path)
	}
	return json.Unmarshal(body, into)
}

// URL returns the AMQP URLs of all nodes, separated by commas; they contain the password.
func (c *Cluster) URL() string { return c.join(c.NodeURL) }

// NodeURL returns the AMQP URL of one node, counted from 0.
func (c *Cluster) NodeURL(n int) string { return c.nodes[n].url("amqp", c.nodes[n].ports.AMQP) + "/" }

// ManagementURL returns the URLs of the HTTP API of all nodes, separated by commas.
func (c *Cluster) ManagementURL() string {
	return c.join(func(n int) string { return c.nodes[n].url("http", c.nodes[n].ports.Management) })
}

func (c *Cluster) join(of func(n int) string) string {
	var urls []string
	for i := range c.nodes {
		urls = append(urls, of(i))
	}
	return strings.Join(urls, ",")
}

func (n *clusterNode) url(scheme string, port int) string {
	u := url.URL{Scheme: scheme, User: url.UserPassword(name, n.password), Host: address(port)}
	return u.String()
}

// Leader returns the node, counted from 0, that leads the quorum queue according to the running
// nodes. After a kill they name the killed node until a new leader is elected; until then, Leader
// returns an error.
func (c *Cluster) Leader(ctx context.Context, vhost, queue string) (int, error) {
	var last error
	for _, n := range c.nodes {
		if !n.runs() {
			continue
		}
		var q struct{ Leader string }
		if last = n.get(ctx, "/api/queues/"+url.PathEscape(vhost)+"/"+url.PathEscape(queue)+"?columns=leader", &q); last != nil {
			continue
		}
		for i, leader := range c.nodes {
			if leader.member.name == q.Leader && leader.runs() {
				return i, nil
			}
		}
		last = fmt.Errorf("queue %q has no leader that runs (%q)", queue, q.Leader)
	}
	return 0, last
}

// Kill kills a node, counted from 0, with SIGKILL and waits for it to end.
func (c *Cluster) Kill(n int) { c.nodes[n].kill() }

// Restart starts a killed node with the data that it left, and waits until it accepts connections.
// If the whole cluster is down, the first node may wait for the others: restart all of them
// concurrently then.
func (c *Cluster) Restart(ctx context.Context, n int) error {
	if c.nodes[n].runs() {
		return fmt.Errorf("node %d runs already", n)
	}
	if err := c.nodes[n].boot(ctx); err != nil {
		return fmt.Errorf("start node %d again: %w", n, err)
	}
	return nil
}

// Pid returns the process id of a node, counted from 0, for signals such as SIGSTOP.
func (c *Cluster) Pid(n int) int {
	c.nodes[n].mu.Lock()
	defer c.nodes[n].mu.Unlock()
	return c.nodes[n].process.Pid()
}

// Shell runs a command line of rabbitmqctl or rabbitmq-queues as the administrator of a node,
// counted from 0. It takes seconds.
func (c *Cluster) Shell(ctx context.Context, n int, command string) error {
	at := c.nodes[n]
	shell := at.tool("sh", []string{"-c", command}, "shell.log")
	shell.Path = "/bin/sh"
	shell.Env[0] = "PATH=" + filepath.Dir(at.server) + ":" + searchPath()
	if err := child.Run(ctx, shell); err != nil {
		return fmt.Errorf("run %s: %w", command, err)
	}
	return nil
}

// Stop kills all nodes, as their data is not needed any more. It is idempotent.
func (c *Cluster) Stop() {
	for _, n := range c.nodes {
		n.kill()
	}
	if c.epmd != nil {
		c.epmd.Kill()
	}
}
