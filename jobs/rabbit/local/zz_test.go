package local
import ("testing";"context";"time";"syscall";"net/http";"os";"strings")
func TestX(t *testing.T){
 o:=Options{Dir:"/tmp/privx/d"}; os.RemoveAll(o.Dir)
 s,err:=Start(context.Background(),o); if err!=nil{t.Fatal(err)}
 call(t, s, http.MethodPut, "/api/queues/%2F/kept", `{"durable":true,"arguments":{"x-queue-type":"quorum"}}`, nil)
 call(t, s, http.MethodPost, "/api/exchanges/%2F/amq.default/publish",
		`{"routing_key":"kept","payload":"hello","payload_encoding":"string","properties":{"delivery_mode":2}}`, nil)
 syscall.Kill(s.Pids()[0],9); <-s.Done()
 o.Ports=s.Ports()
 if os.Getenv("TWICE")!="" {
 s,err=Start(context.Background(),o); if err!=nil{t.Fatal(err)}
 s.Stop(context.Background())
 }
 s,err=Start(context.Background(),o); if err!=nil{t.Fatal(err)}
 for i:=0;i<20;i++{
  b:=time.Now()
  var got any
  c:=&http.Client{Timeout:3*time.Second}
  r,err:=c.Get(s.ManagementURL()+"/api/queues/%2F/kept?columns=messages,state,leader,messages_ready,online"); 
  if err==nil{ var bb [500]byte; n,_:=r.Body.Read(bb[:]); t.Log(time.Since(b),string(bb[:n])) }
  _=got
  rq,_:=http.NewRequest("POST",s.ManagementURL()+"/api/queues/%2F/kept/get",strings.NewReader(`{"count":5,"ackmode":"ack_requeue_true","encoding":"auto"}`))
  r,err=c.Do(rq)
  if err==nil{ var bb [500]byte; n,_:=r.Body.Read(bb[:]); t.Log(time.Since(b),string(bb[:n])); if n>2 {break} } else {t.Log(err)}
  time.Sleep(time.Second)
 }
 s.Stop(context.Background())
}
